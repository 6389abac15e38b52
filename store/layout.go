package store

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/stored"
)

// The stored layout. Every key of a session and of its index carries the tag of
// the session's bucket in braces, so that a Redis cluster keeps them together
// and one script may touch them all. With the namespace "bs", the session 42 of
// the bot pizza, and 256 buckets:
//
//	bs:meta                       HASH    layout, buckets, id of this store
//	bs:bots                       HASH    bot -> its settings, one line of JSON (settings.go)
//	bs:replicas                   HASH    replica -> since when it is there, when it was last seen, and what it says of itself (fleet.go)
//
//	bs:{256.17.3f}:s:pizza/42     HASH    the session (package stored shows one)
//	bs:{256.17.3f}:h:pizza/42     LIST    chat history
//	bs:{256.17.3f}:q:pizza/42     LIST    inbox: accepted events
//	bs:{256.17.3f}:o:pizza/42     LIST    outbox: replies to be sent
//	bs:{256.17.3f}:e:pizza/42     HASH    events seen: digest -> what became of it
//	bs:{256.17.3f}:p:pizza/42     HASH    calls seen: call id -> when to forget it (ms), answer
//	bs:{256.17.3f}:x:pizza/42     LIST    dead letters: events and replies that failed, as they were stored
//	bs:{256.17.3f}:f:pizza/42     STRING  the last file's bytes
//
//	bs:{256.17.3f}:i:pizza        ZSET    ids by state and last activity, to the minute (lua/prelude/index.lua)
//	bs:{256.17.3f}:u:pizza        ZSET    <user> NUL <id> of each session with a user, all with score 0
//	bs:{256.17.3f}:g:pizza        HASH    from NUL to -> moves made
//	bs:{256.17.3f}:ttl:pizza      ZSET    ids by expiry (ms), perhaps too early; too late only while work keeps the session alive
//	bs:{256.17.3f}:due:pizza      ZSET    sessions with work, by when to look at them (ms)
//	bs:{256.17.3f}:waits:pizza    ZSET    sessions in which something waits, by since when (ms): see lua/prelude/save.lua
//	bs:{256.17.3f}:dead:pizza     ZSET    sessions with dead letters, by the time of the last
//	bs:{256.17.3f}:w:pizza        STRING  the channel of those who watch, with a life of seconds
//	bs:{256.17.3f}:b              HASH    bot -> living sessions
//	bs:{256.17.3f}:bells          ZSET    what to look at, for all bots, by when (ms): see lua/prelude/bells.lua
//	bs:{256.17.3f}:log            LIST    what people did by hand, the latest first: see lua/prelude/audit.lua
//	bs:{256.17.3f}:ack            STRING  empty; written by whoever waits for acknowledgements, see package call (for bs:bots: bs:ack:{bs:bots})
//
// The channels begin with bs:<id of this store>:
//
//	wake:<replica>    what one replica is to take up: see wakeChannel
//	watch:pizza       notices of a bot's sessions: see watch.go
//	waits             in which processes somebody waits for events: see told.go
//	told:<tag>        how events ended that one process accepted: see told.go
//
// An element of a list is shown in lua/prelude/list.lua, a line of e in
// lua/prelude/ids.lua, a digest and a call's id in package ids.
const (
	layoutVersion  = stored.Layout
	defaultBuckets = 256
	maxBuckets     = 4096
)

// A keyForm is what is the same of all keys that are called by one name.
type keyForm struct {
	kind string // kind stands in the key, before the bot's name
	typ  string // typ is what Redis calls the type
	of   owns   // of is whose key it is
	life life   // life is whether Redis drops the key
}

// owns is whose a key is. Those of the store are in no bucket.
type owns int

const (
	ofSession owns = iota // a session's
	ofBot                 // a bot's, in each bucket
	ofBucket              // a bucket's
	ofStore               // the store's
)

// life is whether Redis drops a key by itself.
type life int

const (
	stays  life = iota // it must not
	asHead             // when the record in the session's hash says, which may be never
	ends               // some time: the key has an expiry
)

// forms has every key there is, by the names that scripts give them. They do not
// touch meta and mark.
var forms = map[string]keyForm{
	"session":  {"s", "hash", ofSession, asHead},
	"history":  {"h", "list", ofSession, asHead},
	"inbox":    {"q", "list", ofSession, stays},
	"outbox":   {"o", "list", ofSession, stays},
	"events":   {"e", "hash", ofSession, ends},
	"calls":    {"p", "hash", ofSession, ends},
	"letters":  {"x", "list", ofSession, ends},
	"file":     {"f", "string", ofSession, asHead},
	"index":    {"i", "zset", ofBot, stays},
	"users":    {"u", "zset", ofBot, stays},
	"moves":    {"g", "hash", ofBot, stays},
	"expiry":   {"ttl", "zset", ofBot, stays},
	"due":      {"due", "zset", ofBot, stays},
	"waits":    {"waits", "zset", ofBot, stays},
	"dead":     {"dead", "zset", ofBot, stays},
	"watch":    {"w", "string", ofBot, ends},
	"bots":     {"b", "hash", ofBucket, stays},
	"bells":    {"bells", "zset", ofBucket, stays},
	"log":      {"log", "list", ofBucket, stays},
	"mark":     {"ack", "string", ofBucket, stays},
	"replicas": {"replicas", "hash", ofStore, ends},
	"settings": {"bots", "hash", ofStore, stays},
	"meta":     {"meta", "hash", ofStore, stays},
}

// kinds has the names in forms by their kinds.
var kinds = func() map[string]string {
	names := map[string]string{}
	for name, form := range forms {
		names[form.kind] = name
	}
	return names
}()

// layout builds every key there is.
type layout struct {
	namespace string
	tags      []string // by bucket: "ns:{tag}:"
}

func newLayout(namespace string, buckets int) layout {
	l := layout{namespace: namespace, tags: make([]string, buckets)}
	for i := range l.tags {
		l.tags[i] = namespace + ":{" + bucketTag(i, buckets) + "}:"
	}
	return l
}

// place is where a session lives: its bucket, and what its keys begin and end with.
type place struct {
	ref    session.Ref
	bucket int
}

func (l layout) place(ref session.Ref) place {
	h := fnv.New64a()
	h.Write([]byte(ref.Bot))
	h.Write([]byte{'/'})
	h.Write([]byte(ref.ID))
	sum := h.Sum64()
	return place{ref: ref, bucket: int((sum ^ sum>>32) % uint64(len(l.tags)))}
}

// key builds the key that a script calls name.
func (l layout) key(name string, at place) string {
	var key strings.Builder
	l.write(&key, name, at)
	return key.String()
}

func (l layout) write(key *strings.Builder, name string, at place) {
	form, ok := forms[name]
	if !ok {
		panic(fmt.Sprintf("store: no key is called %q", name))
	}
	if form.inBucket() {
		key.WriteString(l.tags[at.bucket])
	} else {
		key.WriteString(l.namespace)
		key.WriteByte(':')
	}
	key.WriteString(form.kind)
	if form.of == ofBucket || form.of == ofStore {
		return
	}
	key.WriteByte(':')
	key.WriteString(at.ref.Bot)
	if form.of == ofSession {
		key.WriteByte('/')
		key.WriteString(at.ref.ID)
	}
}

// keys builds the keys of a script, in the order of its header, as parts of one
// string.
func (l layout) keys(script *lua.Script, at place) []string {
	var all strings.Builder
	all.Grow(len(script.Keys) * (len(l.tags[0]) + len("session:/") + len(at.ref.Bot) + len(at.ref.ID)))
	keys := make([]string, len(script.Keys))
	for i, name := range script.Keys {
		start := all.Len()
		l.write(&all, name, at)
		keys[i] = all.String()[start:]
	}
	return keys
}

// parse returns the name and the place of a key, and false for one that this
// layout does not have. The place of a key that is in no bucket has the number
// behind the last one.
func (l layout) parse(key string) (name string, at place, ok bool) {
	at.bucket = len(l.tags)
	if key == l.namespace+":ack:{"+l.settings()+"}" {
		return "mark", at, true
	}
	rest, _ := strings.CutPrefix(key, l.namespace+":")
	if tag, inside, tagged := strings.Cut(rest, "}:"); tagged {
		words := strings.Split(tag, ".") // as bucketTag writes it
		if len(words) != 3 {
			return "", at, false
		}
		bucket, err := strconv.Atoi(words[1])
		if err != nil || bucket < 0 || bucket >= len(l.tags) {
			return "", at, false
		}
		at.bucket, rest = bucket, inside
	}
	kind, of, _ := strings.Cut(rest, ":")
	name = kinds[kind]
	switch forms[name].of {
	case ofSession:
		at.ref.Bot, at.ref.ID, _ = strings.Cut(of, "/")
		ok = at.ref.Validate() == nil
	case ofBot:
		at.ref.Bot = of
		ok = session.ValidBot(of) == nil
	default:
		ok = true
	}
	ok = ok && name != "" && forms[name].inBucket() == (at.bucket < len(l.tags)) && l.key(name, at) == key
	return name, at, ok
}

func (f keyForm) inBucket() bool { return f.of != ofStore }

func (l layout) meta() string { return l.key("meta", place{}) }

// settings is the key of all bots' settings, which is in no bucket.
func (l layout) settings() string { return l.key("settings", place{}) }

// wakeChannel is on which one replica hears of sessions that are due: of each its bot
// and its id, with a '/' between. id is that of the stored data.
func (l layout) wakeChannel(id, replica string) string {
	return l.namespace + ":" + id + ":wake:" + replica
}

// watchChannel is on which scripts publish the notices of a bot. id is that of the
// stored data.
func (l layout) watchChannel(id, bot string) string {
	return l.namespace + ":" + id + ":watch:" + bot
}

// waitsChannel is on which all hear in which processes somebody waits, and toldChannel
// on which the process of a tag hears what it waits for. id is that of the stored data.
func (l layout) waitsChannel(id string) string { return l.namespace + ":" + id + ":waits" }

func (l layout) toldChannel(id, tag string) string {
	return l.namespace + ":" + id + ":told:" + fmt.Sprintf("%x", tag)
}

// slots is how many hash slots a Redis cluster has.
const slots = 16384

// bucketTag returns the text between the braces of a bucket's keys: the count
// of buckets, the bucket, and a suffix chosen so that the tag's slot lies in
// the bucket's share of the slots. So buckets spread evenly over a cluster
// however its slots are cut into ranges.
func bucketTag(bucket, buckets int) string {
	low, high := bucket*slots/buckets, (bucket+1)*slots/buckets
	prefix := strconv.Itoa(buckets) + "." + strconv.Itoa(bucket) + "."
	for n := int64(0); ; n++ {
		tag := prefix + strconv.FormatInt(n, 36)
		if slot := int(crc16(tag)) % slots; low <= slot && slot < high {
			return tag
		}
	}
}

// crc16 is the checksum by which a Redis cluster assigns keys to slots
// (CRC-16/XMODEM; Redis cluster specification, "Key distribution model").
func crc16(s string) uint16 {
	var crc uint16
	for _, c := range []byte(s) {
		crc ^= uint16(c) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}
