-- anchor moves Redis' own expiry, for all of the session's keys at once.
local function anchor(net)
  if net == s.net then return end
  s.net, s.changed = net, true
  for _, key in ipairs({session, history, file}) do
    if net > 0 then redis.call('PEXPIREAT', key, net) else redis.call('PERSIST', key) end
  end
end
