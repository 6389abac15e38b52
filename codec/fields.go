package codec

// Layout is the version of the stored layout that this package writes. It reads
// that one and all before it, and refuses a newer one.
const Layout = 1

// The names of a session's hash fields. This is a whole hash, as HGETALL prints
// it; what begins with "m" is an encoded value:
//
//	layout              "1"
//	gen                 "1758000000000123"
//	ver                 "8"
//	state               "weather"
//	platform            "telegram"
//	user                "ada"
//	seq                 "12"
//	turns               "6"
//	born                "1758000000000"
//	at                  "1758000042000"
//	exp                 "1760592042000"
//	net                 "1760595642000"
//	message             "m\xb5will it rain in Rome?"
//	intent              "m\x94\xacask_forecast\xca?`\x00\x00\xb5will it rain in Rome?\x91\x93\xa4city\xa4Rome\xc0"
//	file                "m\x93\xa7map.png\xa9image/png\xcd\x05\xdc"
//	token               "1758000042000123"
//	until               "1758000072000"
//	holder              "bot-7f9c#41"
//	work                "event"
//	qb                  "312"
//	es                  "1758003600000"
//	f:predicted_intent  "1"
//	d:city              "m\xa4Rome"
//	d:visits            "m\x03"
//
// Integers are decimal. Moments are milliseconds of Unix time by the server's
// clock. A field that is absent means the same as an empty text or 0, unless
// its comment says otherwise.
const (
	FieldLayout   = "layout"   // the layout's version; always there
	FieldLife     = "gen"      // the number of the life; a new life has a greater one; always there
	FieldVersion  = "ver"      // one more with each change; always there
	FieldState    = "state"    // the current state's name, in clear; always there
	FieldPlatform = "platform" // where the session's first event came from, in clear
	FieldUser     = "user"     // the platform's name for the user, in clear

	FieldMessage = "message" // the last user message that was handled; an encoded string
	FieldIntent  = "intent"  // the last predicted intent; encoded, see Codec.EncodeIntent
	FieldFile    = "file"    // the last file, without its bytes; encoded, see Codec.EncodeFile

	FieldSeq     = "seq"  // the sequence number of the chat's last message
	FieldCreated = "born" // when this life began; ms
	FieldActive  = "at"   // of the last change; ms
	FieldExpires = "exp"  // when the session expires; ms; 0: never
	FieldTTL     = "ttl"  // the session's own time to live; ms; absent: the bot's; 0: for ever
	FieldNet     = "net"  // when Redis itself drops the keys, should nobody else have; ms

	FieldTurns = "turns" // events handled in this life

	FieldToken  = "token"  // the fencing token of the last hand-out, compared as text
	FieldUntil  = "until"  // when the lease ends; ms; 0: the session is free
	FieldHolder = "holder" // the call that the session was handed out to: the replica's name, "#", a number
	FieldWork   = "work"   // what it was handed out for: "event", "reply", "update", or "" when it is free

	FieldFails        = "fails"    // failures of the event at the inbox's head
	FieldCrashes      = "crashes"  // hand-outs of that event that were never heard of again
	FieldWait         = "wait"     // that event is not handed out before; ms
	FieldReplyFails   = "ofails"   // failures of the reply at the outbox's head
	FieldReplyCrashes = "ocrashes" // hand-outs of that reply that were never heard of again
	FieldReplyWait    = "owait"    // that reply is not tried again before; ms
	FieldError        = "err"      // the last error, as plain text

	FieldInboxBytes = "qb"    // bytes in the inbox
	FieldSweep      = "es"    // when the event ids that were seen are swept next; ms
	FieldYield      = "yield" // an Update waits, and events let it pass, until then; ms
	FieldEnd        = "end"   // "1": the session was ended by its own turn, and is buried when all is sent
)

// Fields with a name of the bot's behind the prefix.
const (
	PrefixFlag = "f:" // a flag that is up; the value is "1"
	PrefixData = "d:" // a value of the private data; encoded
)

// numberFields are those that hold an integer. The rest of the hash can be
// damaged in one place and still be read in the others; without these it is not
// clear what the others mean.
var numberFields = []string{
	FieldLayout, FieldLife, FieldVersion, FieldSeq, FieldTurns, FieldCreated, FieldActive, FieldExpires, FieldTTL, FieldNet,
	FieldUntil, FieldFails, FieldCrashes, FieldWait, FieldReplyFails, FieldReplyCrashes, FieldReplyWait, FieldInboxBytes, FieldSweep, FieldYield,
}

// StatusFields are the fields that [Record.Status] needs, for an HMGET that
// leaves the private data where it is.
var StatusFields = []string{
	FieldLayout, FieldLife, FieldVersion, FieldState, FieldPlatform, FieldUser, FieldSeq, FieldTurns, FieldCreated,
	FieldActive, FieldExpires, FieldToken, FieldUntil, FieldHolder, FieldWork, FieldFails, FieldCrashes, FieldWait,
	FieldReplyFails, FieldReplyWait, FieldError, FieldEnd,
}
