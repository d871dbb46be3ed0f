-- Nothing is written while an object is suspended or going.
local idle = obj.spec.suspend == true or obj.metadata.deletionTimestamp ~= nil
return { ["force-push"] = { ["disabled"] = idle } }
