-- ids: noting an id in events.

-- note_id writes the line of a digest, which is remembered for so many ms, and
-- keeps the key for keep ms longer. The ids seen are swept a part at a time, and
-- all of them about twice a window. Each is kept as long as was promised when it
-- was noted, and while its event waits; so their key lives longer than the longest
-- promise, and is never made to live shorter by a caller with a smaller window.
-- lost is what unlisted returned.
local function note_id(digest, line, lost, window, keep)
  redis.call('HSET', events, digest, line)
  relist(lost, 1)
  if now >= s.sweep then
    local cursor = sweep_part(events, redis.call('HGET', events, '') or '0', function(line)
      local status, till = string.match(line, '^(%a) (%d+)')
      return status ~= 'p' and (till or 0) * 1000 <= now
    end)
    if cursor == '0' then
      s.sweep = now + math.floor(window / 2)
      redis.call('HDEL', events, '')
    else
      redis.call('HSET', events, '', cursor)
    end
  end
  local most = 2 * window + keep
  if redis.call('PTTL', events) < most - window then redis.call('PEXPIREAT', events, now + most) end
end

-- note_applied notes the change that has just been made under an id, if it has one: see once.
local function note_applied(once, lost)
  if once == '' then return end
  local window = tonumber(string.sub(once, 17))
  note_id(string.sub(once, 1, 16), 'u ' .. int(math.ceil((now + window) / 1000)) .. ' ' .. int(s.ver), lost, window, DAY)
end
