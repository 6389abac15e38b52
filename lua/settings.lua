-- settings: keeps what a program wrote of a bot's settings, unless another one
-- was there first.
--
-- USES   clock deadline
-- KEYS   settings
-- ARGV   op deadline bot was text
--        was is the whole text that the caller has read; empty if it found none
-- WRITES yes
-- FINAL  OK EXISTS
-- REPLY  OK now wrote                  wrote is 0 if the text stood there already
--        EXISTS now found              was is empty, and another one was there first, with the text found
--        OTHER now found               it is another text than was
--        LATE now

local found = redis.call('HGET', settings, bot) or ''
if found == text then return {'OK', now, 0} end
if found ~= was then return {was == '' and 'EXISTS' or 'OTHER', now, found} end
redis.call('HSET', settings, bot, text)
return {'OK', now, 1}
