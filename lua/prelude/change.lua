-- change: a Change as the store sends it, from ARGV[at] on, and writing it.
--
--   from       '' | the state it must be in         limit     of the history, 0: none
--   bot ttl    ms (0: for ever)                     dirty     '1' if anything here is a change
--   special    '1' if there is a last part
--   then four counts (moves, set, del, chat) and as many strings: states
--   entered; field, value, ...; fields; send, message, ...: '' or '1' and the id
--   of the event that the message answers
--   and the last part:
--   reset      '' | 'keep' | 'drop' (the chat)      initial   the state of a new life
--   destroy    '' | '1'                             ttl       '' | '-' (the bot's) | ms (0: for ever)
--   file       '' | '1': the next is its bytes      bytes     of the file

-- read_change decides which keys apply will write, and reads each of them, but
-- for the queues, so that one of another type stops the script before its first
-- write. A session's place in index is written when its state or its minute is
-- another one. The reaper finds it by its place in expiry and corrects it there: only
-- one that is missing there, or too late, must be written now.
local function read_change(at)
  local c = {from = ARGV[at], limit = ARGV[at + 2] + 0, dirty = ARGV[at + 3] == '1', reset = ''}
  c.moves = at + 9
  c.set = c.moves + ARGV[at + 5]
  c.del = c.set + ARGV[at + 6]
  c.chat = c.del + ARGV[at + 7]
  c.last = c.chat + ARGV[at + 8] - 1
  if ARGV[at + 4] == '1' then
    local last = c.last
    c.reset, c.initial, c.destroy = ARGV[last + 1], ARGV[last + 2], ARGV[last + 3] == '1'
    if ARGV[last + 4] ~= '' then s.ttl = ARGV[last + 4] end
    c.file = ARGV[last + 5] == '1' and ARGV[last + 6]
  end
  c.exp, c.net = lifetime(ARGV[at + 1])
  c.expiry = c.exp > 0 and (s.exp == 0 or c.exp < s.exp) or c.exp == 0 and s.exp > 0
  c.minute = math.floor(math.max(now, s.at) / 60000) ~= math.floor(s.at / 60000)
  if c.reset ~= '' then redis.call('LLEN', history) end -- else it is the first key that is written
  if c.expiry then redis.call('ZCARD', expiry) end
  if c.minute or c.set > c.moves or c.reset ~= '' then redis.call('ZCARD', index) end
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
  if c.reset ~= '' then
    renew_life(c.reset)
    state = c.initial
  end
  if c.chat <= c.last then -- the first write, which checks the type of this key
    local when, chat, replies = stamp(s.at), {}, {}
    for i = c.chat, c.last, 2 do
      s.seq = s.seq + 1
      chat[#chat + 1] = when .. ARGV[i + 1]
      if ARGV[i] ~= '' then replies[#replies + 1] = outbox_element(s.gen, int(s.seq), string.sub(ARGV[i], 2), chat[#chat]) end
    end
    local length = push(history, chat)
    if length == #chat and s.net > 0 then redis.call('PEXPIREAT', history, s.net) end
    if c.limit > 0 and length > c.limit then redis.call('LTRIM', history, -c.limit, -1) end
    push(outbox, replies)
    unsent = unsent + #replies
    for _, reply in ipairs(replies) do s.obytes = s.obytes + #reply end
  end
  for i = c.moves, c.set - 1 do
    count_move(state .. '\0' .. ARGV[i])
    state = ARGV[i]
  end
  for i = c.set, c.del - 1 do put[#put + 1] = ARGV[i] end
  for i = c.del, c.chat - 1, 100 do
    deleted = deleted + redis.call('HDEL', session, unpack(ARGV, i, math.min(i + 99, c.chat - 1)))
  end
  if c.file then
    redis.call('SET', file, c.file)
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
  if c.dirty then s.ver = s.ver + 1 end
  s.exp = c.exp
  anchor(c.net)
  if c.expiry then
    if c.exp > 0 then list_expiry(c.exp) else redis.call('ZREM', expiry, id) end
  end
  return deleted, first
end
