-- file: reads the last file, what is known of it and its bytes in one moment. It
-- writes nothing.
--
-- USES   clock record
-- KEYS   session inbox outbox file
-- ARGV   op deadline
-- WRITES no
-- REPLY  OK now about bytes            both empty if there is none
--        NOTFOUND now
--        LAYOUT now layout | CORRUPT now field

if not s or s.ended or over then return {'NOTFOUND', now} end
local about = redis.call('HGET', session, 'file')
if not about then return {'OK', now, '', ''} end
local bytes = redis.call('GET', file)
if not bytes then return {'CORRUPT', now, 'file'} end
return {'OK', now, about, bytes}
