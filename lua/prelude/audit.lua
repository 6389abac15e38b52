-- audit: what people did by hand. In the list log of a bucket stand its last thousand
-- acts, the latest first: a stamp, which no two of them have, and a line of JSON
-- (EncodeAct of package stored).

-- note_act notes what the caller does by hand, if audit is not empty. It comes last: a
-- list that cannot be written must not undo what was done.
local function note_act()
  if audit == '' then return end
  local last = redis.pcall('LINDEX', log, 0)
  local when = math.max(now, (type(last) == 'string' and moment(last, 1) or 0) + 1)
  redis.pcall('LPUSH', log, stamp(when) .. audit)
  redis.pcall('LTRIM', log, 0, 999)
end
