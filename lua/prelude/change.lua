-- change: a Change as the store sends it, behind a script's own arguments, and writing it.
--
-- ARGV   from ttl limit dirty reset initial own filed bytes entered set del said strings...
--        from: '' | the state it must be in; ttl: the bot's, ms (0: for ever); limit: of the history, 0: none
--        dirty: '1' if anything here is a change; reset: '' | 'keep' | 'drop' (the chat); initial: the state of
--        a new life; own: '' | '-' (the bot's ttl) | ms (0: for ever)
--        filed: '' | '1': bytes are those of a file
--        entered, set, del, said: so many strings there are of each: states entered; field, value, ...; fields;
--        send, message, ...: '', or what the message is sent as a reply to, see list

-- read_change decides which keys apply will write, and reads each of them, but
-- for the queues, so that one of another type stops the script before its first
-- write. A session's place in index is written when its state or its minute is
-- another one. The reaper finds it by its place in expiry and corrects it there: only
-- one that is missing there, or too late, must be written now.
local function read_change()
  local c = {set = strings + entered}
  c.del = c.set + set
  c.chat = c.del + del
  c.last = c.chat + said - 1
  if own ~= '' then s.ttl = own end
  c.exp, c.net = lifetime(ttl)
  c.expiry = c.exp > 0 and (s.exp == 0 or c.exp < s.exp) or c.exp == 0 and s.exp > 0
  c.minute = math.floor(math.max(now, s.at) / 60000) ~= math.floor(s.at / 60000)
  if reset ~= '' then redis.call('LLEN', history) end -- else it is the first key that is written
  if c.expiry then redis.call('ZCARD', expiry) end
  if c.minute or c.set > strings or reset ~= '' then redis.call('ZCARD', index) end
  return c
end

-- renew_life empties the session, which apply then puts into its initial state.
-- The life is named after the token under which it began. The sequence numbers
-- of the chat go on.
local function renew_life(chat)
  local drop = {}
  local fields = redis.call('HKEYS', session)
  for _, f in ipairs(fields) do
    local two = string.sub(f, 1, 2)
    if two == 'd:' or two == 'f:' or f == 'message' or f == 'intent' or f == 'file' then drop[#drop + 1] = f end
  end
  for _, f in ipairs(drop) do redis.call('HDEL', session, f) end
  redis.call('DEL', file)
  s.gen, s.born, s.turns = s.token, int(now), 0
  if chat == 'drop' then
    redis.call('DEL', history)
    s.chat = s.gen
  end
end

-- push appends many elements to a list and returns its length.
local function push(list, elements)
  local length
  for i = 1, #elements, 100 do -- bounded, as in save
    length = redis.call('RPUSH', list, unpack(elements, i, math.min(i + 99, #elements)))
  end
  return length
end

-- apply writes the change. It returns how many fields it deleted, and the
-- sequence number of the first message it appended. Fields of the hash are
-- collected in put, for save at the end of the script.
local function apply(c, put)
  local state, deleted, first = s.state, 0, s.seq + 1
  s.at = math.max(now, s.at) -- a server's clock may step back; the chat's times may not
  if reset ~= '' then
    renew_life(reset)
    state = initial
  end
  if c.chat <= c.last then -- the first write, which checks the type of this key
    local when, chat, replies = stamp(s.at), {}, {}
    for i = c.chat, c.last, 2 do
      s.seq = s.seq + 1
      chat[#chat + 1] = when .. ARGV[i + 1]
      if ARGV[i] ~= '' then replies[#replies + 1] = outbox_element(s.gen, int(s.seq), ARGV[i], chat[#chat]) end
    end
    local length = push(history, chat)
    if length == #chat and s.net > 0 then redis.call('PEXPIREAT', history, s.net) end
    if limit ~= '0' and length > limit + 0 then redis.call('LTRIM', history, -limit, -1) end
    push(outbox, replies)
    unsent = unsent + #replies
    for _, reply in ipairs(replies) do s.obytes = s.obytes + #reply end
  end
  for i = strings, c.set - 1 do
    count_move(state .. '\0' .. ARGV[i])
    state = ARGV[i]
  end
  for i = c.set, c.del - 1 do put[#put + 1] = ARGV[i] end
  for i = c.del, c.chat - 1, 100 do
    deleted = deleted + redis.call('HDEL', session, unpack(ARGV, i, math.min(i + 99, c.chat - 1)))
  end
  if filed == '1' then
    redis.call('SET', file, bytes)
    if s.net > 0 then redis.call('PEXPIREAT', file, s.net) end
  end
  if c.minute or state ~= s.state then
    s.place = int(place(state, s.at))
    redis.call('ZADD', index, s.place, id)
  end
  if state ~= s.state then
    put[#put + 1] = 'state'
    put[#put + 1] = state
    s.state = state
  end
  if dirty == '1' then s.ver = s.ver + 1 end
  s.exp = c.exp
  anchor(c.net)
  if c.expiry then
    if c.exp > 0 then list_expiry(c.exp) else redis.call('ZREM', expiry, id) end
  end
  return deleted, first
end
