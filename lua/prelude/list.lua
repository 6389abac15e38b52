-- list: elements of the session's lists.

-- stamp is a moment as the six bytes before an element.
local function stamp(ms)
  local low = ms % 16777216
  local high = (ms - low) / 16777216
  return string.char(math.floor(high / 65536) % 256, math.floor(high / 256) % 256, high % 256,
    math.floor(low / 65536), math.floor(low / 256) % 256, low % 256)
end
