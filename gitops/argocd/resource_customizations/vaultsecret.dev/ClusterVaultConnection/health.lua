-- The same script for every kind of vaultsecret.dev. It needs no library: Argo CD opens none for scripts in argocd-cm.
local hs = { status = "Progressing", message = "waits for the operator" }

if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return hs
end

local ready, stalled
for _, condition in ipairs(obj.status.conditions or {}) do
  if condition.type == "Ready" then
    ready = condition
  elseif condition.type == "Stalled" and condition.status == "True" then
    stalled = condition
  end
end

if ready == nil then
  return hs
end
hs.message = ready.reason .. ": " .. ready.message

if obj.metadata.deletionTimestamp ~= nil then
  return hs
end
if ready.status == "True" then
  hs.status = "Healthy"
elseif ready.reason == "Suspended" then
  hs.status = "Suspended"
elseif stalled ~= nil then
  hs.status = "Degraded"
end
return hs
