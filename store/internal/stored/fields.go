package stored

// Layout is the version of the stored layout that this package writes and reads.
const Layout = 2

// The names of a session's hash fields. This is a whole hash, as HGETALL prints
// it; what begins with "m" is an encoded value:
//
//	rec                 "event 1758000042000123 1758003600000 bot-7f9c#41 1758000072000 1 96 0 0 8 12 6 1758000042000 1760592042000 7164113651876435 | 2 1758000000000123 1758000000000 1762492800000 - 0 1758000000000123 1758003600000 1758259242000 0 0 0 0 0"
//	hand                (16 bytes) "1758000042000 86400000 m\x98…"
//	state               "weather"
//	platform            "telegram"
//	user                "ada"
//	message             "m\xb5will it rain in Rome?"
//	intent              "m\x94\xacask_forecast\xca?`\x00\x00\xb5will it rain in Rome?\x91\x93\xa4city\xa4Rome\xc0"
//	file                "m\x93\xa7map.png\xa9image/png\xcd\x05\xdc"
//	retry               "2 0 0 1758000040000 0 0 0 0 0 0 0 0"
//	err                 "timeout"
//	oerr                "502 Bad Gateway"
//	f:predicted_intent  "1"
//	d:city              "m\xa4Rome"
//	d:visits            "m\x03"
//
// What the scripts count and time is packed into two fields, as words with a space
// between; numbers are in decimal. Moments are milliseconds of Unix time by the
// server's clock. rec is also the session's version as a whole: every script that
// writes to the session changes it, and no text of it ever comes back, so whoever
// finds the text that he knows finds the session that he knows. In front of the bar
// is what a turn changes:
//
//	rec     work     what the session was handed out for: event, reply, update; or free
//	        token    the fencing token of the last hand-out, compared as text
//	        calm     until when accept may hand it out without a further look, if it is free
//	        holder   the id of the call that it was handed out to, see ids.Call; or "-"
//	        until    when the lease ends; 0: the session is free
//	        waiting  how many events wait, in hand and in the inbox
//	        bytes    of them
//	        unsent   how many replies are in the outbox
//	        obytes   of them
//	        ver      one more with each change
//	        seq      the sequence number of the chat's last message
//	        turns    events handled in this life
//	        at       when it was last changed
//	        exp      when the session expires; 0: never
//	        place    its score in the index, see Place
//	        |
//	        layout   the layout's version
//	        gen      the number of the life; a new life has a greater one
//	        born     when this life began
//	        net      when Redis itself drops the keys, should nobody else have; 0: never
//	        ttl      the session's own time to live in ms, 0: for ever; "-": the bot's
//	        ended    1: its own turn ended it, and it is buried when all is sent
//	        chat     the number of the life in which the chat began
//	        sweep    when the event ids that were seen are swept next
//	        kept     until when the key of those ids lives at least
//	        listed   since when something waits, as the key waits lists it; 0: it does not
//	        and four words for what is to come, 0 each
//
//	retry   fails    failures of the event that is first
//	        crashes  hand-outs of that event that were never heard of again
//	        backs    hand-backs of it for which it was not to blame
//	        wait     that event is not handed out before
//	        since    when that event was first put off
//	        fails, crashes, backs, wait, since of the reply at the outbox's head
//	        yield    an Update waits, and events let it pass, until then
//	        way      an Update ran, and the next one lets what waits pass, until then
//
// retry is absent while all of it is 0. hand is the event that was handed out at once,
// empty or absent if there is none; lua/prelude/hand.lua shows it.
const (
	FieldRecord = "rec"
	FieldHand   = "hand"
	FieldRetry  = "retry"
	FieldError  = "err" // the last error of the event, as plain text; absent when retry is

	FieldReplyError = "oerr" // the last error of the reply, as plain text; absent when retry is

	FieldState    = "state"    // the current state's name, in clear
	FieldPlatform = "platform" // where the session's first event came from, in clear
	FieldUser     = "user"     // the platform's name for the user, in clear

	FieldMessage = "message" // the last user message that was handled; an encoded string
	FieldIntent  = "intent"  // the last predicted intent; encoded, see EncodeIntent
	FieldFile    = "file"    // the last file, without its bytes; encoded, see EncodeFile
)

// Fields with a name of the bot's behind the prefix.
const (
	PrefixFlag = "f:" // a flag that is up; the value is "1"
	PrefixData = "d:" // a value of the private data; encoded
)

// StatusFields are the fields that [Record.Status] needs, for an HMGET that
// leaves the private data where it is.
var StatusFields = []string{FieldRecord, FieldState, FieldPlatform, FieldUser, FieldRetry, FieldError, FieldReplyError}
