-- act: what the scripts have in common by which people act on a session.

-- frees makes the first write of a script one that needs no memory: a server whose
-- memory is full takes what the script writes behind it.
local function frees()
  redis.call('HDEL', session, '')
end

-- drop_lines notes of elements of the inbox that they were dropped.
local function drop_lines(elements)
  for _, element in ipairs(elements) do
    local digest = inbox_digest(element)
    local status, forget, call, made = read_line(redis.call('HGET', events, digest) or '')
    if status then redis.call('HSET', events, digest, write_line('o', forget, call, made, 0, 0, 0)) end
  end
end

-- is_head tells whether the head that the caller saw is still there: the event of the
-- digest or, if that is empty, the reply of that name.
local function is_head()
  if digest == '' then return is_reply(redis.call('LINDEX', outbox, 0) or '', reply) end
  return not s.ended and (in_hand() or inbox_digest(redis.call('LINDEX', inbox, 0) or '')) == digest
end

-- seize takes the session from whoever holds it, and returns what for. Whatever he
-- still writes is refused.
local function seize()
  local work = s.work
  unhand()
  s.token = new_token()
  s.lease, s.work, s.holder = 0, 'free', '-'
  return work
end

-- proceed has what waits looked at, and tells whether somebody must be woken for it. A
-- lease that is over stays, for whoever takes the session to count a crash.
local function proceed()
  if s.lease > now then
    ensure_due(s.lease)
    return 'idle'
  end
  if s.lease > 0 then
    list_due(now)
    return 'due'
  end
  local when = free()
  return when and when <= now and 'due' or 'idle'
end
