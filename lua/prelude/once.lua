-- once: changes that are made once, under the id of an event. once is empty for a
-- change without an id, else 16 bytes of digest and the window in ms. What was
-- made is noted in events, as
--
--   u <when to forget, in s> <version>

-- applied returns, if that id is known, the version that was made under it, 0 if
-- it was no change but an event, or is one that waits; nil if it is not known; and
-- -1 for a line that cannot be read. It also returns what unlisted does.
local function applied(once)
  if once == '' then return nil, {} end
  local digest = string.sub(once, 1, 16)
  local known = redis.call('HGET', events, digest)
  if known then
    local status, till = string.match(known, '^(%a) (%d+)')
    if not till then return -1 end
    if till * 1000 > now or status == 'p' then return tonumber(string.match(known, '^u %d+ (%d+)$') or 0) end
    return nil, {}
  end
  local lost = unlisted()
  if is_unlisted(lost, digest) then return 0 end
  return nil, lost
end
