// Package storetest tests bots without a server and without waiting, and checks
// servers by what package store promises on them.
//
// A bot's handler is tested in three lines:
//
//	kit := storetest.New(t, handler, &store.BotOptions{Initial: "greeting"}, nil)
//	got := kit.Say("ann", "a pizza")
//	// got.State is "ordering", got.Replies is ["Which size?"]
//
// The [Kit] has a server of its own inside the test, runs the handler on the
// test's goroutine, and moves its clock only when the test says so: an hour's
// idle time, a back-off or a time to live passes in no time, and always the
// same way. When the test ends, it checks that all that is stored fits together.
//
// # The conformance suite
//
// [Conformance] runs what package store promises as tests on any server: the
// session as the bot sees it, the fleet that shares it, and how it ends. It
// needs only a function that connects. Run it before you trust a server, a
// proxy or a provider with your users' sessions:
//
//	func TestOurRedis(t *testing.T) {
//		storetest.Conformance(t, func(t testing.TB) redis.UniversalClient {
//			client, err := store.ParseURL("redis://redis.internal:6379/9")
//			if err != nil {
//				t.Fatal(err)
//			}
//			return client
//		})
//	}
//
// Each of its tests keeps to a namespace of its own, so it can run beside
// others, and beside your data; it leaves nothing behind.
package storetest
