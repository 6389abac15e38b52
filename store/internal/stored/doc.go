// Package stored is what a session is in Redis, as Go values: the fields of its
// hash, the messages of its chat, the events of its inbox, its dead letters.
// Package codec writes the single values; this package says which of them stand
// where.
//
// # What a stored value of the domain looks like
//
// The values of the domain are short lists, because many millions of them are kept:
//
//	j[1,"Which city?"]                                      a message of the bot
//	j[1,"Which city?",{"model":"m-1"},"question"]           one with metadata, of a type of the bot's own
//	j["ask_forecast",0.875,"rain?",[["city","Rome",null]]]  an intent
//	j["map.png","image/png",1500]                           a file, without its bytes
//
// What scripts put before them in a list is shown in lua/prelude/list.lua. How a
// session's hash looks is shown above [FieldRecord].
//
// # Backwards compatibility
//
// Everything that version 1 of the layout wrote is read for ever: each list above,
// each hash field, in both codecs. Files in testdata/golden hold such bytes, and
// are never rewritten. Lists grow only at the end, that of the message types too, and
// items behind the known ones are ignored. What cannot be added in this way raises
// [Layout]; a hash of a newer layout is refused with [session.ErrNewerLayout], by a
// replica that was not updated yet, rather than misread.
package stored
