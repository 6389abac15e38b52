-- beat: a replica says that it is there, and what it does, and learns who else is
-- there. Its line among the replicas is three numbers in ms, since when it is there,
-- when it was last seen, and until when it is believed to be there, and what it says
-- of itself. A line stays for an hour after its replica was last seen; where there are
-- more than a thousand lines, only until the replica is no longer believed to be there.
--
-- USES   clock rights
-- KEYS   replicas
-- ARGV   op deadline name keep about
--        keep: for how long the replica is believed to be there without a beat, ms; 0 if it leaves
-- WRITES losable
-- FINAL  all
-- REPLY  OK now there{name line}       those that are there
--        NOPERM now command

local HOUR = 3600000
local all, there, gone, first = redis.call('HGETALL', replicas), {}, {}, int(now)
for i = 1, #all, 2 do
  local since, seen, till = string.match(all[i + 1], '^(%d+) (%d+) (%d+) ')
  local alive = since and tonumber(till) > now
  if all[i] == name then
    first = since or first
  elseif alive then
    there[#there + 1] = all[i]
    there[#there + 1] = all[i + 1]
  elseif not since or tonumber(seen) <= now - HOUR or #all > 2000 then
    gone[#gone + 1] = all[i]
  end
end
local line = first .. ' ' .. int(now) .. ' ' .. int(now + keep) .. ' ' .. about
if keep ~= '0' then
  there[#there + 1] = name
  there[#there + 1] = line
end
redis.call('HSET', replicas, name, line)
for i = 1, #gone, 100 do redis.call('HDEL', replicas, unpack(gone, i, math.min(i + 99, #gone))) end
redis.call('PEXPIRE', replicas, HOUR)
return {'OK', now, there}
