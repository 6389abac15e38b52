// Package store keeps bot sessions in Redis, so that any number of replicas of a
// bot can share them. A user's events are handled in order, each once, and none is
// lost.
//
//	st, err := store.Open(ctx, "redis://localhost:6379", nil)
//	if err != nil { … }
//	defer st.Close()
//
//	// In every process; the options are stored with the bot's data.
//	bot, err := st.Bot(ctx, "pizza", &store.BotOptions{Initial: "greeting"})
//	if err != nil { … }
//
//	// In every process that handles events. Serve returns when ctx ends.
//	err = bot.Serve(ctx, func(ctx context.Context, t *store.Turn) error {
//		t.Reply("You said: " + t.Event().Text)
//		return nil
//	}, &store.ServeOptions{
//		Send: func(ctx context.Context, d store.Delivery) error { return telegram.Send(ctx, d.Ref.ID, d.Message) },
//	})
//
//	// In the webhook, in any process. What it returns for an error: see package session.
//	receipt, err := bot.Accept(ctx, "42", session.Event{ID: "update-981", Text: "a pizza"})
//
// The webhook may be in the processes that serve the bot, or in others. If
// nobody serves the bot, accepted events wait.
//
// # Three ways to change a session
//
//   - [Bot.Accept] queues an event. One replica handles it in a [Turn], in order and once.
//   - [Bot.Update] runs a function as a turn of its own, now: it reads, decides and writes while no other turn runs.
//   - A [Session] has methods for single changes, which do not wait for a running turn.
//
// # An event's life
//
//	   Accept ── its id was seen before ──▶ a duplicate: it waits for the first one's outcome
//	      │
//	      ▼
//	   WAITING ◀─────────┬── handed back: the replica stops, or a live Move came between (no failure)
//	      │              ├── the handler failed, or hangs: due again after its back-off (a failure)
//	      │              ├── the handler says Later: due again after a pause (no failure)
//	      │ it is the    └── the replica was not heard of again: due after its lease (a crash)
//	      │ head, and                  │
//	      │ the session is free        │
//	      ▼                            │
//	   IN HAND ────────────────────────┘
//	      │      │
//	commit│      │ MaxAttempts failures, four times as many crashes or hand-backs, MaxWait, or GiveUp
//	      ▼      ▼
//	   HANDLED   DEAD LETTER            (and DROPPED, when its session is destroyed from outside)
//
// A committed reply goes the same way through the outbox: unsent, in hand, then
// sent or a dead letter. While replies wait for their next attempt, turns go on,
// and their replies wait behind, until there are as many as the inbox may have of
// events.
//
// Every way in which an event or a reply comes back is listed, with its limit,
// above the type runner in runner.go. A dead letter has what was accepted,
// unchanged. Of each session the last [BotOptions.DeadLimit] are kept, each for
// thirty days.
//
// # A session's lease
//
//	FREE ◀──────────────── nothing is left to do, or the head is given back (release)
//	   │                                 │
//	   │ accept, lease                   │
//	   ▼                                 │
//	HELD under token 7 ──────────────────┤   renew: for longer, under the same token
//	   │      │                          │
//	   │      └─ commit, sent, dead: ─▶ HELD under token 8, by the same replica, for the next event
//	   │ its time is over
//	   ▼
//	OVERDUE: token 7 may still commit, until
//	   │ lease
//	   ▼
//	HELD under token 9, by another replica: token 7 is fenced
//
// A reset or a destroy from outside of the turn fences the holder at once. The
// token is compared in the script that commits, so whoever lost the session can
// write nothing to it any more, not even by retrying.
//
// # A turn's two trips
//
// Half of what a turn could cost a server is taking the session's record apart and
// putting it together again. So whatever happens to a session changes the text of its
// record (rec in its hash), and no text ever comes back: whoever finds the text that he
// knows finds the session that he knows.
//
// The first lines of lua/accept.lua replace a few words of the record of a session that
// is free and has nothing else to do, and leave the event in the hash, in hand. They
// send the hash only to a process that does not know this record from its last turn.
// The handler runs. Then lua/commit.lua compares the whole record, and if it is the same
// writes what the holder computed; the first lines of lua/sent.lua do so when the
// replies are sent. If anything has happened meanwhile (another event, a live verb, a
// reset, a lease that is over), or the turn does something rare, the general lines
// decide: the rest of accept and sent, and lua/settle.lua, which reads everything and
// ends any turn. They leave the same bytes.
// (TestTheShortWayWritesWhatTheGeneralScriptsWrite, TestAScriptIsWholeWhateverTypeOrRightIsGone)
//
// # Eager
//
// With [ServeOptions.Eager] a replica that knows a session from its last turn runs the
// handler before the event is accepted, and then has event and turn written in one trip,
// which costs the server about half. Nothing that is promised above changes: the event
// is handled once, in order, and its turn is committed whole or not at all. But the
// handler runs more often. Its run is dropped, with what it did to the [Turn] and with
// its error, if the session has changed since, or the event was accepted before; then
// the event is handled anew, or not at all. So Eager is for bots
//
//   - that serve and accept in one process, with most of a user's events in the same one:
//     where less than half of the last runs, at least a hundred and at most a thousand,
//     became their event's turn, a replica stops for a minute; the rate stands in its line
//     of the key bs:replicas;
//   - whose handlers do nothing outside of the Turn that must not be done for an event that
//     is handled elsewhere. What a handler does outside is not undone.
//
// Accept returns when the turn is committed, or after ten milliseconds, when the event is
// accepted as always and the handler goes on under the lease. The same happens as soon as
// the handler reads the chat, or calls with its context for its own session (but for
// DeadLetters), and when it fails or does what commit cannot write (a reset, a file, a
// second move): a failure so counts, as any other. If Accept's context ends first, nothing
// was accepted. A run that is dropped is told so by its context, and counts for no slot;
// one that does not end by itself may go on beside the next. No event is run eagerly while
// another of its session is, and none in the first minute of a Serve, so that a program that dies again and again has its events accepted and the
// crashes counted. (The part "eager" of storetest.Conformance; the faults, the simulation
// and the linearizability tests run eager replicas, too.)
//
// # A bot's settings
//
// [BotOptions] are kept on the server, and are the same for all processes, whatever
// their programs say. The first program that declares a bot makes them;
// [Bot.Configure] changes them. A process asks for those of all its bots with one
// command: every five seconds while it serves, else before it uses a copy that is
// older. So a change acts everywhere within ten seconds, and a server that does not
// reply stops nothing: the process goes on with the copy it has. A turn goes by one
// copy.
//
// A change rewrites nothing that is stored. A session's expiry follows a new TTL, and
// a chat a new HistoryLimit, when they are next written; an id is remembered for as
// long as the window was when it was accepted. Replies in the outbox of a bot that is
// made to record only are sent by the replicas with a Send that still serve. A replica
// without one puts them off, and after MaxWait they become dead letters.
//
// Where a server has lost settings, by a FLUSHALL or at a fail-over, a process that
// knows them puts them back as they were, with one warning. What counts then does not
// depend on who comes first: of two changes it is the later one; any change rather
// than a declaration; of two declarations the earlier one. So a program that is
// started in between, and makes the bot again with options of its own, changes
// nothing. A process that has asked for nothing for a minute cannot know whether
// settings were lost or replaced: it takes what it finds, and puts back its own only
// where there are none.
//
// # Acts
//
// What a person does to a session that is stuck is an act: [Session.Retry],
// [Session.Skip], [Session.Drop] and [Session.Unlock]. Each is one script. It names
// what it acts on, as the person saw it, and changes nothing if that is not there any
// more ([session.ErrChanged]). A replica that an act takes the session from is fenced,
// which is no failure; only Unlock, and a Retry that takes, count a crash. An act
// leaves a line that [Bot.Audit] reads; so does each change of a session with the
// context of [As]. On a server whose memory is full Skip, Drop, Destroy and those on dead
// letters still work.
//
// A dead letter, which its time names, can be delivered again ([Session.Redeliver]) or
// removed ([Session.Discard]), also when its session is gone. [Bot.Erase] removes what is
// kept of a user, one session at a time.
//
// # Handlers, Send and Dead
//
// Values are encoded where they are given, and everybody reads them from those
// bytes. Of an error only the text is kept. A panic, a goroutine that ends, and an
// error whose method panics are failures like any other; none ends the process.
//
// # Contexts
//
// A call whose ctx has ended sends nothing and returns the cause ([context.Cause]). A
// read ends with ctx. A write that was sent goes on when ctx is cancelled, so that its
// outcome is known; a deadline, of ctx or by [Options.Timeout], ends it with
// [session.ErrUnknownOutcome]. If it was not applied by then, it never will be.
//
// Serving ends with the ctx of [Bot.Serve]; running turns then have
// [ServeOptions.Grace] to finish. The ctx of a handler, of Send and of Dead has the
// values of Serve's ctx, but does not end with it: see [Handler]; that of Dead ends
// after [Options.MaxTurn]. The ctx of [Receipt.Wait] ends only the waiting. The ctx of
// [Bot.Update] ends the waiting for the session, and fn gets a ctx made from it; if it
// ends before fn returns, nothing is written.
//
// # Waiting for an event
//
// [Receipt.Wait] is told of a turn in its own process at once, and of one in another
// process within milliseconds: wait with the receipt that [Bot.Accept] returned, in the
// process that called it. Nothing is stored for that. Such a process, and each that
// serves, has one connection more, and whoever waits says so every two seconds. What is
// told may be lost with a connection, so each Wait also looks, every three to five
// seconds. A Wait for an event that another process accepted, or that is a duplicate,
// looks five times a second instead.
//
// # Close
//
// End [Bot.Serve] by its ctx and wait until it returns, then call [Store.Close]. After
// Close everything returns an error that wraps redis.ErrClosed: new calls and Watch at
// once, Wait soon, a write that was sent when its outcome is certain or
// [Options.Timeout] is over, and a Serve that still runs when its turns have ended or
// its grace is over; what those turns did is not committed, and others take their
// events over after the lease.
//
// # A key whose type changes
//
// If a stored value does not fit the type of a [Key], reading it is a
// [session.ErrType]: [Key.Get] fails the turn, and the event becomes a dead letter.
// During a deploy old and new programs share the sessions. So a type that the old one
// cannot read takes two releases: the first reads both types and writes the old one;
// the second, once no older process runs, writes the new one. To read both, declare
// two keys of one name, and use Lookup of the new one and, on ErrType, of the old one.
// Struct fields may be added at any time: those that are not stored are zero, and
// those that are not known are ignored, but a program that writes the value back drops
// them.
//
// # Go-redis
//
// Package github.com/redis/go-redis/v9 is part of this package's API: [New] takes its
// clients, [ParseURL] returns one, and errors of the network and of the server are
// returned as it made them. A new major version of it is one of this package, too.
//
// # Lists
//
// [Bot.Sessions], [Bot.Waiting], [Bot.DeadLetters] and [Bot.Replicas] return iterators,
// for range loops. They read on as the loop does, in commands of limited size, and a new
// loop begins anew; one that began remembers six bytes of each session that may come
// again. Each item is a value or an error. A [session.CorruptError] is
// about one item, whose Ref it has, and the loop may go on. Any other error is the last
// item; with a server of a cluster down it comes after everything that the others have.
// [Store.Check] is such an iterator, too, but what is corrupt is not an error there: it
// is what Check yields.
//
// # What is guaranteed
//
// Package storetest tests these promises on every kind of server; the tests in
// parentheses attack them.
//
//  1. Atomic. A call or a commit applies whole or not at all. Every guard, and every check of a type or a right, comes
//     before the first write.
//     (TestACallIsAppliedAsItSaysWhateverTheNetworkDoes, TestDamageIsSurvivedByTheNeighbours,
//     TestACallWithoutARightChangesNothing, TestTurnsWithoutARightAreHandledOnceAllTheSame)
//  2. Once. A call that is retried after a lost reply, a reset or a time-out applies once, and the retry gets the first
//     answer. An event id delivered many times within the window starts one turn, and each receipt can wait for its one
//     outcome. When the library gives up it says [session.ErrUnknownOutcome], never a plain failure for what may have
//     happened; and if it has not happened by then, it never will.
//     (TestConcurrentCallsAndTurnsAreLinearizable, TestWhatItsRetryOvertookChangesNothing, TestAnUnknownOutcomeIsFinal)
//  3. One at a time. At most one handler's work on a session is ever committed at a time.
//     (TestConcurrentCallsAndTurnsAreLinearizable, TestSimulation)
//  4. In order. The events of a session are handled in the order in which they were accepted, and its replies sent in
//     the order of the commits. (TestSimulation, TestAnEventIsHandledOnceWhateverTheNetworkDoes)
//  5. Nothing lost. An accepted event is handled, or becomes a dead letter with its error, whatever replicas die, and
//     though the session's idle time runs out meanwhile. A committed reply is sent, or becomes a dead letter.
//     (TestServersInTrouble, TestSimulation)
//  6. No ghosts. A late write to a session that was deleted, reset or has expired is refused, and creates nothing.
//     (TestWhatArrivesAfterItsCallerGaveUpChangesNothing, TestWhoeverLostTheSessionWritesNothing)
//  7. Whole. All parts of a session live and expire together; one with work waiting does not expire.
//     (TestSessionsExpireInThousandsUnderAFleet, TestSessionsExpireInThousandsAndNobodyLooks)
//  8. Flat. The cost of a turn does not grow with the chat history. (TestFlatTheCostOfATurnDoesNotGrowWithTheChatHistory)
//  9. Apart. No id, however written, touches another session's keys. (TestNoTwoKeysAreTheSame)
//
// # What is not
//
//   - A handler may run twice. What it does to the session counts once; what it does elsewhere happens twice.
//   - A reply may be sent twice, with the same [Delivery.Key], if a replica dies between sending it and noting that.
//   - What Redis itself loses is lost: at a fail-over, unless [Options.Acks] waits for its replicas; when its machine
//     fails, what is not in an append-only file on disk, unless [Options.Fsync] waits for that. A call that waits in
//     vain returns [session.ErrNotAcked]. (TestServersInTrouble, TestTheAppendOnlyFileIsWaitedFor)
//   - A request for a lease that its own retry overtook may arrive after that lease was given back. Nobody uses the
//     lease that it gets, so the session waits until it ends. (TestALateRequestForALeaseCostsALease)
//   - Redis does not undo what a script wrote before it is stopped. If a right is taken from the Redis user after [Open],
//     scripts see that before their first write ([session.ErrNoPermission]). In Redis 6 they cannot see it: there a call
//     may be half applied, and returns [session.ErrUnknownOutcome].
//   - A replica that has several replies in hand learns of a reset or a destroy from outside only when it renews its lease
//     or notes them. Until then, for a third of the lease at most, it may go on sending.
//   - If nobody serves a bot until a week after a session's time to live, Redis itself drops the session. An event that
//     waits for it is then handled in a new one.
//   - An event in hand may be kept in the session's hash alone. If Redis evicts that, or somebody deletes it, and the
//     holder dies before it notices, the event is lost; one that waits in the inbox is handled in a new session.
//   - A duplicate that comes after [BotOptions.DedupeWindow] counts as new. An id is remembered for as long as the
//     window was when it was accepted, and while its event waits.
//   - If a server's clock is set back, leases and waits last longer by as much, and a request that is on its way may be
//     applied later than [session.ErrUnknownOutcome] says: its deadline is in that clock's time.
//   - A function that does not return cannot be stopped. After MaxTurn nobody waits for it: what it does to its turn is
//     dropped, but it goes on. [Bot.Drain] and [Bot.Update] run it on their caller's goroutine, and do wait for it.
//   - If a session is destroyed from outside, the events that wait for it are dropped: see [Session.Destroy].
//   - If the clocks of a server and its replica differ, leases and waits end too early or too late by that much after a
//     fail-over. The guarantees above do not depend on it.
//
// # Where to read on
//
// What is stored: layout.go; package stored for the hash; lua/prelude/ids.lua for
// what is known of an event; lua/prelude/list.lua for the lists; lua/prelude/index.lua
// for how sessions are found by state and by time. What must fit together
// in it: checksession.go. How a turn is committed: lua/commit.lua, lua/settle.lua and runner.go. How
// replicas find work: look.go, and fleet.go for what they know of each other. How they
// tell each other who waits, and how events ended: told.go.
//
// # Backwards compatibility
//
// Every stored session has the version of its layout. This version of the package
// reads and writes layout 2; later ones will read it, too. Other layouts are refused
// ([session.ErrNewerLayout], [session.ErrUnsupported]). Values of both codecs can always be read.
package store
