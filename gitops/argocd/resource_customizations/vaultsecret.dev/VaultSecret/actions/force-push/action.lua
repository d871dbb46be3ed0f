-- Sends every value once more. The annotation asks once for each new value of it, and is no part of what is in Git.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["vaultsecret.dev/force-push"] = os.date("!%Y-%m-%dT%XZ")
return obj
