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

-- forget_acts takes from acts the session, its events and the reasons; when, what and by
-- whom stay. about is how the JSON of these acts begins, and without is what stands there
-- instead. It returns how many there were.
local function forget_acts(about, without)
  local lines, n = redis.call('LRANGE', log, 0, -1), 0
  for i, line in ipairs(lines) do
    local from = 7 + #about
    if string.sub(line, 7, from - 1) == about then
      local by = string.find(line, ',"by":"', from, true) -- a quote within a text has a backslash before it
      local last = (string.find(line, ',"reason":"', by or from, true) or #line) - 1
      local verb = string.match(line, '^"verb":"[^"]*"', from) or '"verb":""'
      lines[i] = string.sub(line, 1, 6) .. without .. verb .. (by and string.sub(line, by, last) or ',"by":""') .. '}'
      n = n + 1
    end
  end
  if n == 0 then return 0 end
  redis.call('DEL', log)
  for i = 1, #lines, 100 do redis.call('RPUSH', log, unpack(lines, i, math.min(i + 99, #lines))) end -- bounded, as in save
  return n
end
