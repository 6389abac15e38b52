-- list: elements of the session's lists.

-- stamp is a moment as the six bytes before an element.
local function stamp(ms)
  local low = ms % 16777216
  local high = (ms - low) / 16777216
  return string.char(math.floor(high / 65536) % 256, math.floor(high / 256) % 256, high % 256,
    math.floor(low / 65536), math.floor(low / 256) % 256, low % 256)
end

-- moment reads it again.
local function moment(element)
  local b1, b2, b3, b4, b5, b6 = string.byte(element, 1, 6)
  return ((((b1 * 256 + b2) * 256 + b3) * 256 + b4) * 256 + b5) * 256 + b6
end
