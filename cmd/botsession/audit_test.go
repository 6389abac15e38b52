package main

import (
	"strings"
	"testing"
)

func TestAudit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	command(t, w.env, "audit").check(t, transcript{0, "", "nothing was done by hand\n"})
	w.poisoned(t, w.bot(t, "pizza", nil), "42", 0)
	w.poisoned(t, w.bot(t, "bank", nil), "7", 0)
	for _, args := range [][]string{
		{"retry", "pizza/42", "--as", "ops", "--reason", "the API\x1b[2J is back"},
		{"skip", "bank/7", "--as", "eve\u202e"},
		{"rm", "pizza/42", "--as", "ops"},
	} {
		if got := command(t, w.env, append(args, "--yes")...); got.Code != 0 {
			t.Fatalf("%q: %+v", args, got)
		}
	}
	command(t, w.env, "audit").check(t, transcript{0, `
WHEN      BY         DID      TO        WHAT         WHY
TIME  ops        destroy  pizza/42  -            -
TIME  eve\u202e  skip     bank/7    event "e-0"  -
TIME  ops        retry    pizza/42  event "e-0"  the API\x1b[2J is back
`, ""})
	command(t, w.env, "audit", "pizza", "--limit", "1").check(t, transcript{0, `
WHEN      BY   DID      TO        WHAT  WHY
TIME  ops  destroy  pizza/42  -     -
`, "more than 1 act: these are the latest; --limit 0 lists all\n"})
	got := command(t, w.env, "audit", "bank", "--json")
	if want := `{"session":"bank/7","time":"INSTANT","ref":{"bot":"bank","id":"7"},"verb":"skip","object":"event \"e-0\"","by":"eve\u202e"}` + "\n"; got.Code != 0 || got.Stdout != want {
		t.Errorf("%+v, want %s", got, want)
	}
	command(t, w.env, strings.Fields("audit pasta")...).check(t, transcript{3, "", "error: no bot pasta: no program has declared it\nhint: bots here: bank, pizza\n"})
}

// Who is not named by --as is the system's user.
func TestAuditHasTheSystemsUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bot := w.bot(t, "pizza", nil)
	w.poisoned(t, bot, "42", 0)
	if got := command(t, w.env, "retry", "pizza/42", "--yes"); got.Code != 0 {
		t.Fatalf("%+v", got)
	}
	for act, err := range bot.Audit(t.Context()) {
		if err != nil || act.By == "" || strings.HasPrefix(act.By, "replica-") || act.By != systemUser(func(string) string { return "" }) {
			t.Errorf("the audit has %+v, %v", act, err)
		}
	}
}
