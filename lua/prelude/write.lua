-- write: many fields at once, and the time to live that every change slides.

-- The unpack below is bounded: a caller's data never decides its size.
local function hset(key, pairs)
  for i = 1, #pairs, 100 do
    redis.call('HSET', key, unpack(pairs, i, math.min(i + 99, #pairs)))
  end
end

-- push appends many elements to a list and returns its length.
local function push(key, elements)
  local length
  for i = 1, #elements, 100 do
    length = redis.call('RPUSH', key, unpack(elements, i, math.min(i + 99, #elements)))
  end
  return length
end

-- lifetime returns when the session expires if it is idle from now on, and when
-- Redis itself is to drop its keys, both 0 for never. The hash's exp decides
-- whether a session has expired; Redis' own expiry is only the net below it, a
-- week later, and moves only when exp has come near it, because each PEXPIREAT
-- costs as much as the rest of a small write.
local WEEK, DAY = 604800000, 86400000
local function lifetime(s, ttl)
  ttl = tonumber(s.ttl or ttl)
  if ttl <= 0 then return 0, 0 end
  local least = now + ttl + WEEK
  local most = math.floor(least + math.max(ttl / 2, DAY))
  if s.net < least or s.net > most then return now + ttl, most end
  return now + ttl, s.net
end

-- anchor sets the net, for all of the session's keys at once.
local function anchor(net)
  for _, key in ipairs({session, history, file}) do
    if net > 0 then redis.call('PEXPIREAT', key, int(net)) else redis.call('PERSIST', key) end
  end
end

-- outlast keeps Redis from dropping a session that its work keeps alive until
-- the moment when.
local function outlast(s, when, put)
  if s.net == 0 or s.net >= when + WEEK then return end
  s.net = when + WEEK + DAY
  anchor(s.net)
  for _, f in ipairs({'net', int(s.net)}) do put[#put + 1] = f end
end

-- slide gives the session its full time to live again. put collects the hash's
-- fields. The reaper finds a session by its place in expiry and corrects it
-- there: only a place that is missing, or too late, must be written now.
local function slide(s, ttl, put, id)
  local exp, net = lifetime(s, ttl)
  if exp > 0 and (s.exp == 0 or exp < s.exp) then
    redis.call('ZADD', expiry, int(exp), id)
  elseif exp == 0 and s.exp > 0 then
    redis.call('ZREM', expiry, id)
  end
  if net ~= s.net then anchor(net) end
  for _, f in ipairs({'exp', int(exp), 'net', int(net)}) do put[#put + 1] = f end
  s.exp, s.net = exp, net
end

-- stamp is a moment as the six bytes before a list's element.
local function stamp(ms)
  return string.char(math.floor(ms / 1099511627776) % 256, math.floor(ms / 4294967296) % 256,
    math.floor(ms / 16777216) % 256, math.floor(ms / 65536) % 256, math.floor(ms / 256) % 256, ms % 256)
end
