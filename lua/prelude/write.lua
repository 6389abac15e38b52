-- write: many fields at once, and the time to live that every change slides.

-- The unpack below is bounded: a caller's data never decides its size.
local function hset(key, pairs)
  for i = 1, #pairs, 100 do
    redis.call('HSET', key, unpack(pairs, i, math.min(i + 99, #pairs)))
  end
end

-- slide gives the session its full time to live again. The hash's exp decides
-- whether a session has expired; Redis' own expiry is only the net below it, a
-- week later, and moves only when exp has come near it, because each PEXPIREAT
-- costs as much as the rest of a small write. put collects the hash's fields.
local WEEK, DAY = 604800000, 86400000
local function slide(s, ttl, put, keys)
  if s.ttl then ttl = s.ttl end
  ttl = tonumber(ttl)
  local exp, net = 0, 0
  if ttl > 0 then
    exp, net = now + ttl, s.net
    local least = exp + WEEK
    local most = least + math.max(ttl / 2, DAY)
    if net < least or net > most then net = math.floor(most) end
  end
  if exp ~= s.exp then
    put[#put + 1] = 'exp'
    put[#put + 1] = int(exp)
    s.exp = exp
  end
  if net == s.net then return end
  put[#put + 1] = 'net'
  put[#put + 1] = int(net)
  s.net = net
  for _, key in ipairs(keys) do
    if net > 0 then redis.call('PEXPIREAT', key, int(net)) else redis.call('PERSIST', key) end
  end
end

-- stamp is a moment as the six bytes before a list's element.
local function stamp(ms)
  return string.char(math.floor(ms / 1099511627776) % 256, math.floor(ms / 4294967296) % 256,
    math.floor(ms / 16777216) % 256, math.floor(ms / 65536) % 256, math.floor(ms / 256) % 256, ms % 256)
end
