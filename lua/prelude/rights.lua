-- rights: Redis checks what the caller may do command by command, and undoes
-- nothing. A right that was taken away since the store was opened is noticed
-- here, before the first write, where the server can tell (Redis 7, Valkey).
local may = redis.acl_check_cmd
if may then
-- (a line for each command)
end
