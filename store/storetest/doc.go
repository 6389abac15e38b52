// Package storetest tests handlers of bots without a Redis server and without
// waiting. It also has a suite that tests whether a server is fit for package
// store.
//
// A handler is tested in three lines:
//
//	kit := storetest.New(t, handler, &store.BotOptions{Initial: "greeting"}, nil)
//	got := kit.Say("ann", "a pizza")
//	// got.State is "ordering", got.Replies is ["Which size?"]
//
// The [Kit] has its own server inside the test, runs the handler on the test's
// goroutine, and moves its clock only when the test says so. So an idle hour, a
// back-off or a time to live takes no time, and each run is the same. At the end
// of the test it fails the test if what is stored does not fit together.
//
// # The conformance suite
//
// [Conformance] tests on any server what package store promises. It needs only a
// function that connects. Run it before you trust a server, a proxy or a provider
// with your users' sessions:
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
// Each of its tests uses a namespace of its own, which it deletes, so it can run
// beside your data.
package storetest
