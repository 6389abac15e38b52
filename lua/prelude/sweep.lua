-- sweep looks through a part of a hash, some two hundred fields of it, and drops
-- those that are over. It goes on in later calls where it stopped: under the empty
-- field the hash keeps the cursor. It returns the cursor to go on from, which is
-- '0' when it has come round, and nothing needs to be looked at for a while.
local function sweep_part(key, cursor, is_over)
  local part = redis.pcall('HSCAN', key, cursor, 'COUNT', 200)
  if part.err then return '0' end -- a damaged cursor, or no right: the next sweep begins again
  local drop = {}
  for i = 1, #part[2], 2 do
    if part[2][i] ~= '' and is_over(part[2][i + 1]) then drop[#drop + 1] = part[2][i] end
  end
  for i = 1, #drop, 100 do redis.call('HDEL', key, unpack(drop, i, math.min(i + 99, #drop))) end
  return part[1]
end
