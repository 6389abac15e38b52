// Package store keeps bot sessions in Redis, so that any number of replicas of a
// bot can share them: nothing is lost, nothing is done twice, nothing is out of
// order.
//
//	st, err := store.Open(ctx, "redis://localhost:6379", nil)
//	if err != nil { … }
//	defer st.Close()
//
//	bot, err := st.Bot(ctx, "pizza", &store.BotOptions{Initial: "greeting"}) // kept with the data, the same for all processes
//	if err != nil { … }
//	go bot.Serve(ctx, func(ctx context.Context, t *store.Turn) error { // on every replica
//		t.Reply("You said: " + t.Event().Text)
//		return nil
//	}, &store.ServeOptions{
//		Send: func(ctx context.Context, d store.Delivery) error { return telegram.Send(ctx, d.Ref.ID, d.Message) },
//	})
//
//	// in the webhook, on any replica; on an error answer 503: the platform delivers again
//	receipt, err := bot.Accept(ctx, "42", session.Event{ID: "update-981", Text: "a pizza"})
//
// # Three roads to a session
//
//   - An event, by [Bot.Accept]: once, in order, handled in a [Turn] by one replica.
//   - [Bot.Update]: read, decide, write. It takes the lease, so it never crosses a turn.
//   - The verbs of a live [Session]: blind. A running turn that sets the same key later wins.
//
// # An event's life
//
//	   Accept ── its id was seen before ──▶ a duplicate: it waits for the first one's outcome
//	      │
//	      ▼
//	   WAITING ◀─────────┬── handed back: the replica stops, or a live Move came between (no failure)
//	      │              ├── the handler failed, or hangs: due again after its back-off (a failure)
//	      │ it is the    └── the replica was not heard of again: due after its lease (a crash)
//	      │ head, and                  │
//	      │ the session is free        │
//	      ▼                            │
//	   IN HAND ────────────────────────┘
//	      │      │
//	commit│      │ MaxAttempts failures, four times as many crashes or hand-backs, or GiveUp
//	      ▼      ▼
//	   HANDLED   DEAD LETTER            (and DROPPED, when its session is destroyed from outside)
//
// A committed reply goes the same way through the outbox: unsent, in hand, then
// sent or a dead letter. While replies wait for their next attempt, turns go on;
// more of them queue behind, until as many wait as may in the inbox.
//
// Every way in which an event or a reply comes back is listed, with its bound,
// above the type runner in runner.go. A dead letter holds what was accepted, byte
// for byte; a session keeps the last [BotOptions.DeadLimit] for thirty days each.
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
// A reset or a destroy from outside fences the holder at once, whoever it is.
// The token is compared in the script that commits. Whoever lost the session
// writes nothing: not late, not half, not by retrying.
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
// # What users' code may do
//
// Whatever is given to a verb is encoded there, and read from those bytes by
// everybody: Send, Wait, History, Dead, and whoever takes the session over. Errors
// are read once, and only their text is kept. Panics, goroutines that end and
// errors that cannot be read are failures like any other; none ends the process.
// All private data of a session is read at each turn: fifty values of 1 MB make
// each one take a third of a second, so [Options.MaxData] bounds their sum.
//
// # Contexts
//
// A call whose ctx has ended is not sent, and returns its cause ([context.Cause]). A
// read ends with ctx. A write that was sent is seen through though ctx is cancelled,
// so that its outcome is known; only a deadline, ctx's or [Options.Timeout], ends it,
// with [session.ErrUnknownOutcome]. By then it was applied, or never will be.
//
// The ctx of [Bot.Serve] is how long this process serves: when it ends, turns have
// [ServeOptions.Grace] to finish. A handler's ctx, like Send's and Dead's, has the
// values of Serve's and not its end. It ends when the turn cannot commit any more, or
// should not go on, and its cause says why: [session.ErrMaxTurn], [session.ErrFenced]
// or [session.ErrShutdown]. With it calls about other sessions work as ever; those
// that would wait for their own turn return [session.ErrInTurn]. The ctx of
// [Receipt.Wait] is that of the waiting alone: the event goes on. The ctx of
// [Bot.Update] bounds the wait for the session, and is what fn's ctx comes from: if it
// ends before fn returns, nothing is written.
//
// # Close
//
// After [Store.Close] everything returns an error that wraps redis.ErrClosed: new
// calls at once, Serve when its turns have ended or the grace is over, Wait and Watch
// when they look next. What was in hand is taken over by another process after its
// lease, so end Serve first. The client of [New] is its caller's to close.
//
// # A key whose type changes
//
// [Key] reads what is stored into its Go type, and [session.ErrType] says that it does
// not fit. During a deploy old and new programs share the sessions, so a type that the
// old one cannot read takes two releases: the first reads both and writes the old one,
// the second, once no older process runs, writes the new one. To read both, declare
// two keys of one name: Key[New].Lookup first and, on ErrType, Key[Old].Lookup. Struct
// fields may be added at any time: what is not stored is zero, and what is not known
// is ignored; but a program that writes the value back drops fields that it does not
// know.
//
// # Go-redis
//
// Package github.com/redis/go-redis/v9 is part of this package's API: [New] takes its
// clients, [ParseURL] returns one, and errors of the network and of the server are
// its own, as they came. A change of its major version is one of ours.
//
// # Lists
//
// [Bot.Sessions], [Bot.Waiting], [Bot.DeadLetters] and [Bot.Replicas] are loops that
// read on as their reader does, in bounded commands, and end with its break. Each
// loop over one of them begins anew. An error comes with a zero value. A
// [session.CorruptError] is of one item, whose Ref it has, and the loop may go on;
// any other error is the last item, and what came before it is whole in itself: of a
// cluster with a server down, all that the others have. A cursor is a field of the
// item. [Store.Check] is such a loop, too, whose items are what is wrong in all that is
// stored; so what is corrupt is an item of it, and no error.
//
// # What is guaranteed
//
// Package storetest checks these promises on every kind of server; the tests
// named in brackets attack them.
//
//  1. Atomic. A call or a commit applies whole or not at all. Every guard, and every check of a type or a right, comes
//     before the first write.
//     (TestACallIsAppliedAsItSaysWhateverTheNetworkDoes, TestDamageIsSurvivedByTheNeighbours,
//     TestACallWithoutARightChangesNothing, TestTurnsWithoutARightAreHandledOnceAllTheSame)
//  2. Once. A call that is retried after a lost reply, a reset or a time-out applies once, and the retry gets the first
//     answer. An event id delivered many times within the window starts one turn, and each receipt can wait for its one
//     outcome. When the library gives up it says [session.ErrUnknownOutcome], never a plain failure for what may have
//     happened; and what had not happened by then never will.
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
//   - A handler may run twice: its effects on the session count once, its calls to the outside do not.
//   - A reply may be sent twice, if a replica dies between sending it and noting that: [Delivery.Key] is the same then.
//   - What Redis itself loses is lost: at a fail-over, unless [Options.Acks] waits for its replicas; when its machine
//     fails, what is not in an append-only file on disk, unless [Options.Fsync] waits for that. A call that waits in
//     vain returns [session.ErrNotAcked]. (TestServersInTrouble, TestTheAppendOnlyFileIsWaitedFor)
//   - A request for a lease that was overtaken by its own retry may arrive when that lease was given back, and is
//     then granted to nobody: the session waits for as long as a lease lasts. (TestALateRequestForALeaseCostsALease)
//   - Redis does not undo what a script wrote before it is stopped. A right that is taken away from the user after [Open]
//     is seen before the first write ([session.ErrNoPermission]), but not by Redis 6, which cannot tell a script: there it may leave
//     a call half applied, which then says [session.ErrUnknownOutcome].
//   - A reset or a destroy from outside does not reach a replica that has several replies in hand before it renews its
//     lease, or notes them: until then, for a third of the lease at most, it may go on sending.
//   - A session whose fleet is wholly down for a week longer than its time to live is dropped by Redis itself; an event
//     that waits for it then is handled in a fresh session.
//   - A duplicate that comes after [BotOptions.DedupeWindow] counts as new. An id is remembered for as long as the
//     window was when it was accepted, and while its event waits.
//   - A server's clock that is set back makes leases and waits longer by as much, and a request that is on its way then
//     may be applied later than [session.ErrUnknownOutcome] says: its deadline is in that clock's time.
//   - A function that does not return cannot be ended. It is left alone after MaxTurn: what it does to its turn is
//     dropped, what it does outside goes on, and its goroutine stays. In [Bot.Drain] and [Bot.Update], which run it on
//     their caller's goroutine, they return when it does.
//   - An event of a session that is destroyed from outside before its turn is dropped, as [Session.Destroy] says.
//   - A replica set whose servers' clocks differ may, at a fail-over, end leases and waits by that much too soon or too
//     late. The guarantees above do not depend on it.
//
// # Where to read on
//
// What is stored: layout.go; package stored for the hash; lua/prelude/ids.lua for
// what is known of an event; lua/prelude/list.lua for the lists; checksession.go for
// what fits together. How a turn is
// committed: lua/commit.lua; the Go side is runner.go. How replicas find work:
// serve.go and fleet.go.
//
// # Backwards compatibility
//
// Every stored session carries the version of its layout. This version reads
// and writes layout 1, will go on reading it, and refuses newer ones
// ([session.ErrNewerLayout]). Values of both codecs are always readable.
package store
