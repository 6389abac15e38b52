package store

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
	"github.com/botsession/botsession/store/internal/ids"
)

const defaultNamespace = "bs"

// Options are the settings of a [Store]. The zero value is ready for use.
type Options struct {
	Namespace string        // Namespace is the first part of every key: 1 to 32 letters, digits, '.', '_' and '-'. Zero means "bs".
	Name      string        // Name is this replica's name in leases, lists and logs, to which random letters are added. It has no '#', NUL or white space. Zero means host-pid.
	Buckets   int           // Buckets is the number of parts into which sessions are divided, 1 to 4096. The first Open of a namespace fixes it; another number is [session.ErrInvalid] then. Zero means the number that is stored, 256 if there is none.
	Codec     codec.Codec   // Codec is how values are written; those of both codecs are always readable. Zero means [codec.Msgpack].
	MaxValue  int           // MaxValue is the most bytes that one encoded value, message, file or event may have. Zero means 1 MiB.
	MaxChange int           // MaxChange is the most bytes that one change or turn may write. Zero means 8 MiB.
	MaxData   int           // MaxData is the most bytes that the private data of one session may have, encoded. Every turn reads all of it: 50 MB make each turn take a third of a second. Zero means 16 MiB.
	Timeout   time.Duration // Timeout is how long one call may take, with its retries; an earlier deadline of its ctx ends it earlier. Zero means 5 s.
	Lease     time.Duration // Lease is how long this process holds a session unless it renews the lease, and so how long a session waits after this process died. Zero means 15 s; the least is 30 ms.
	MaxTurn   time.Duration // MaxTurn is how long a handler, the function of an Update, one Send or one Dead may run before its ctx is cancelled. Zero means 5 min; the least is 30 ms.
	Logger    *slog.Logger  // Logger gets what the store logs. Nil means slog.Default(), and warnings and errors alone.
	Observer  Observer      // Observer is told of what this process does. Nil means that nobody is; that costs nothing.
	Acks      int           // Acks is how many replicas of the server must have a write before it counts as done, so that no fail-over undoes it; see [session.ErrNotAcked]. Zero means none.
	Fsync     bool          // Fsync makes a write count as done only when it is on disk, in the append-only file of the server and of as many replicas as Acks says; see [session.ErrNotAcked]. It needs Redis 7.2 or Valkey with appendonly yes; without appendfsync always each write waits for up to a second. False means that no call waits for the disk.
	ReadOnly  bool          // ReadOnly is for programs that only look: calls that write return [session.ErrReadOnly]. False means that all may be called.
}

func (o *Options) withDefaults() (Options, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.Namespace == "" {
		opts.Namespace = defaultNamespace
	}
	if err := session.ValidBot(opts.Namespace); err != nil || len(opts.Namespace) > 32 || strings.Contains(opts.Namespace, ":") {
		return opts, fmt.Errorf("%w: namespace %q: want 1 to 32 letters, digits, '.', '_' or '-'", session.ErrInvalid, opts.Namespace)
	}
	if opts.Buckets < 0 || opts.Buckets > maxBuckets {
		return opts, fmt.Errorf("%w: %d buckets: want 1 to %d", session.ErrInvalid, opts.Buckets, maxBuckets)
	}
	if opts.Codec == 0 {
		opts.Codec = codec.Msgpack
	}
	if opts.Codec != codec.Msgpack && opts.Codec != codec.JSON {
		return opts, fmt.Errorf("%w: unknown codec %v", session.ErrInvalid, opts.Codec)
	}
	if opts.Name == "" {
		host, _ := os.Hostname()
		opts.Name = host + "-" + strconv.Itoa(os.Getpid())
	}
	if strings.ContainsAny(opts.Name, "#\x00 \t\n\v\f\r") {
		return opts, fmt.Errorf("%w: replica name %q: no '#', NUL or white space may be in it", session.ErrInvalid, opts.Name)
	}
	if opts.MaxValue == 0 {
		opts.MaxValue = 1 << 20
	}
	def(&opts.MaxChange, 8<<20)
	def(&opts.MaxData, 16<<20)
	if opts.Timeout == 0 {
		opts.Timeout = 5 * time.Second
	}
	def(&opts.Lease, 15*time.Second)
	def(&opts.MaxTurn, 5*time.Minute)
	for name, d := range map[string]time.Duration{"Lease": opts.Lease, "MaxTurn": opts.MaxTurn} {
		if d < 30*time.Millisecond {
			return opts, fmt.Errorf("%w: Options.%s is %v, and must be at least 30ms", session.ErrInvalid, name, d)
		}
	}
	if opts.MaxValue < 0 || opts.MaxChange < 0 || opts.MaxData < 0 || opts.Timeout < 0 || opts.Acks < 0 {
		return opts, fmt.Errorf("%w: a negative MaxValue, MaxChange, MaxData, Timeout or Acks", session.ErrInvalid)
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(careful{slog.Default().Handler(), slog.LevelWarn})
	} else {
		opts.Logger = slog.New(careful{opts.Logger.Handler(), slog.Level(math.MinInt)})
	}
	return opts, nil
}

// A Store keeps the sessions of any number of bots on one Redis server,
// cluster or Sentinel set. It is safe for concurrent use, and a process needs
// only one.
type Store struct {
	client redis.UniversalClient
	owned  bool // Close closes the client
	opts   Options
	layout layout
	ident  atomic.Pointer[identity]
	known  known
	name   string // of this replica, unique
	tag    string // of its name: see ids.TagOf
	log    *slog.Logger
	remind time.Duration // how often a line says that a function does not return
	caller *call.Caller

	fleet fleet
	duty  duty
	told  told

	followed atomic.Int64          // when follow was last begun, in ns
	end      atomic.Pointer[error] // why nothing may be done any more, see usable
	ended    chan struct{}         // closed when there is such a reason

	bots     bots
	warnings []string
}

// Open connects to Redis; see [ParseURL] for the forms of the URL. Nil options
// mean the defaults. Close the store when it is no longer needed.
//
// The errors are
//
//   - [session.ErrInvalid] for a bad URL or bad options;
//   - [session.ErrUnsupported] for a server that is too old, runs no scripts,
//     runs other commands in the middle of one, as Garnet does by default, or
//     cannot do what Acks or Fsync ask; and for data of an older layout;
//   - [session.ErrNoPermission], with the commands, for a user who lacks the
//     right to some;
//   - [session.ErrNewerLayout] for data of a newer layout;
//   - [session.ErrCorrupt] if the key of the store's settings holds something
//     else;
//   - the network's error, with the address, if no server replies before ctx
//     ends or [Options.Timeout] is over.
//
// A server that works but is not set up as it should be is logged, and listed
// by [Store.Warnings].
func Open(ctx context.Context, url string, opts *Options) (*Store, error) {
	t, err := parseURL(url)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	client := t.client()
	s, err := New(ctx, client, opts)
	if err != nil {
		client.Close()
		return nil, t.withoutPassword(t.tlsMismatch(ctx, err))
	}
	s.owned = true
	return s, nil
}

// New is [Open] with the caller's own client, which [Store.Close] does not
// close. Set ContextTimeoutEnabled in the client's options: without it
// deadlines are kept only roughly. New returns [session.ErrInvalid] for a nil
// client, for a redis.Ring, and for a client that reads from replicas, which
// may not have the latest write yet.
func New(ctx context.Context, client redis.UniversalClient, o *Options) (*Store, error) {
	opts, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := checkClient(client); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{
		client: client, opts: opts, log: opts.Logger,
		name: opts.Name + "-" + ids.Random(6), ended: make(chan struct{}), bots: newBots(),
	}
	s.tag, s.remind = ids.TagOf(s.name), time.Minute
	s.told.patience, s.told.every = 3*time.Second, 2*time.Second
	s.caller = call.New(client, s.name, opts.Acks, opts.Fsync)
	s.log = s.log.With("replica", s.name)
	ctx, cancel := context.WithTimeout(ctx, opts.Timeout)
	defer cancel()
	role := func(ctx context.Context) error { return checkRole(ctx, client) }
	for _, step := range []func(context.Context) error{role, s.readMeta, s.caller.SyncClock, s.inspect} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("open store at %s: %w", address(client), s.caller.Blame(call.NoRight(err)))
		}
	}
	return s, nil
}

// checkClient refuses clients on which the promises cannot be kept.
func checkClient(client redis.UniversalClient) error {
	switch c := client.(type) {
	case nil, *redis.Ring:
		return fmt.Errorf("%w: the client must be of one server, a Sentinel set or a cluster", session.ErrInvalid)
	case *redis.Client:
		if c == nil {
			return fmt.Errorf("%w: the client is nil", session.ErrInvalid)
		}
	case *redis.ClusterClient:
		if c == nil {
			return fmt.Errorf("%w: the client is nil", session.ErrInvalid)
		}
		if o := c.Options(); o.ReadOnly || o.RouteByLatency || o.RouteRandomly {
			return fmt.Errorf("%w: the client reads from replicas (ReadOnly, RouteByLatency or RouteRandomly), which may not have yet what was just written", session.ErrInvalid)
		}
	}
	return nil
}

// checkRole refuses a client that asks Sentinels and leads to a replica. Such a
// client does not say what its options were; its server says what it is, if this
// user may ask.
func checkRole(ctx context.Context, client redis.UniversalClient) error {
	one, ok := client.(*redis.Client)
	if !ok || one.Options().Addr != failoverAddr {
		return nil
	}
	text, err := one.Info(ctx, "replication").Result()
	if err != nil && !call.FromServer(err) {
		return err
	}
	if strings.Contains(text, "role:slave") {
		return fmt.Errorf("%w: the client leads to a replica (ReplicaOnly), which may not have yet what was just written; without ReplicaOnly, a fail-over is under way: open again", session.ErrInvalid)
	}
	return nil
}

// failoverAddr is what go-redis gives as the address of a client that asks Sentinels.
const failoverAddr = "FailoverClient"

// address says where a client connects to.
func address(client redis.UniversalClient) string {
	switch c := client.(type) {
	case *redis.Client:
		if c.Options().Addr == failoverAddr {
			return "the master that the Sentinels name"
		}
		return c.Options().Addr
	case *redis.ClusterClient:
		return strings.Join(c.Options().Addrs, ",")
	}
	return "the server"
}

// readMeta finds out, or fixes, what all replicas must agree on.
func (s *Store) readMeta(ctx context.Context) error {
	stored, id, err := s.meta(ctx)
	if err != nil {
		return err
	}
	buckets := s.opts.Buckets
	if buckets == 0 {
		buckets = defaultBuckets
	}
	if id == "" && !s.opts.ReadOnly {
		if stored, id, err = s.putMeta(ctx, buckets, ids.Random(8)); err != nil {
			return err
		}
	}
	if stored == 0 { // read-only, and nothing is stored yet
		stored = buckets
	}
	if s.opts.Buckets != 0 && s.opts.Buckets != stored {
		return fmt.Errorf("%w: %d buckets asked for, but the data under %q was divided into %d at its first Open: set Options.Buckets to %d or to zero, or use another Namespace",
			session.ErrInvalid, s.opts.Buckets, s.opts.Namespace, stored, stored)
	}
	s.layout = newLayout(s.opts.Namespace, stored)
	s.caller.Clock = call.NewClock(stored + 1) // one more for the server of the replicas' key
	s.setIdentity(id)
	return nil
}

// Name returns this replica's name, which is unique: [Options.Name] and random
// letters. Leases and [Bot.Replicas] show it.
func (s *Store) Name() string { return s.name }

// Close closes the store, and its connections if [Open] made them. Calls that
// run, wait or come later return an error that wraps [redis.ErrClosed]. End
// [Bot.Serve] first, by its ctx: otherwise other replicas take over what this
// process has in hand only after its lease. A second Close does nothing.
func (s *Store) Close() error {
	if !s.endWith(errClosed) || !s.owned {
		return nil
	}
	return s.client.Close()
}

var errClosed = fmt.Errorf("the store is closed: %w", redis.ErrClosed)

// endWith ends what this store may do, unless it has ended.
func (s *Store) endWith(err error) bool {
	first := s.end.CompareAndSwap(nil, &err)
	if first {
		close(s.ended)
		s.closeTold()
	}
	return first
}

// usable returns why nothing may be done any more, or nil: the store is closed, or
// its data was replaced by what this process would look for in the wrong places.
func (s *Store) usable() error {
	if err := s.end.Load(); err != nil {
		return *err
	}
	return nil
}

// Bots returns the names of the bots that were declared or have sessions,
// sorted.
func (s *Store) Bots(ctx context.Context) ([]string, error) {
	if err := s.usable(); err != nil {
		return nil, fmt.Errorf("list bots: %w", err)
	}
	keys := []string{s.layout.settings()}
	for bucket := range s.layout.tags {
		keys = append(keys, s.layout.key("bots", place{bucket: bucket}))
	}
	names := make([]*call.Value[[]string], len(keys))
	commands := make([]call.Command, len(keys))
	for i, key := range keys {
		names[i] = call.HKeys(key)
		commands[i] = names[i]
	}
	if err := s.read(ctx, commands...); err != nil {
		return nil, fmt.Errorf("list bots: %w", s.caller.Blame(call.NoRight(err)))
	}
	var bots []string
	for _, some := range names {
		bots = append(bots, some.Val...)
	}
	slices.Sort(bots)
	return slices.Compact(bots), nil
}

// tooLarge returns session.ErrTooLarge for more bytes than the limit.
func (s *Store) tooLarge(what, name string, size int) error {
	if size <= s.opts.MaxValue {
		return nil
	}
	if name != "" {
		what += " " + strconv.Quote(name)
	}
	return fmt.Errorf("%w: %s has %d bytes, the most is %d", session.ErrTooLarge, what, size, s.opts.MaxValue)
}
