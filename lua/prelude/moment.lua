-- moment reads the six bytes before an element that stamp wrote.
local function moment(element)
  local b1, b2, b3, b4, b5, b6 = string.byte(element, 1, 6)
  return ((((b1 * 256 + b2) * 256 + b3) * 256 + b4) * 256 + b5) * 256 + b6
end
