-- load: reads a session as it is, with the end of its chat, if asked. It writes
-- nothing.
--
-- USES   clock record
-- KEYS   session history inbox outbox
-- ARGV   op deadline newest
--        newest: how many messages of the chat; 0 for none, negative for all
-- WRITES no
-- REPLY  OK now hash messages waiting unsent first chat   first is the number of the first of chat
--        NOTFOUND now
--        LAYOUT now layout | CORRUPT now field

if not s or s.ended or over then return {'NOTFOUND', now} end
local chat = {}
if newest ~= '0' then chat = redis.call('LRANGE', history, math.min(-newest, 0), -1) end
local hash, messages, first = redis.call('HGETALL', session), redis.call('LLEN', history), s.seq - #chat + 1
return {'OK', now, hash, messages, waiting, unsent, first, chat}
