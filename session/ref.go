package session

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The limits on names, in bytes. A longer one is [ErrInvalid].
const (
	MaxBot   = 64  // a bot's name
	MaxID    = 512 // a session's id
	MaxState = 256 // a state's name
	MaxKey   = 256 // a key of the private data, or a flag's name
	MaxLabel = 512 // a platform's or a user's name, an event's kind
)

// A Ref names a session. The same id with another bot is another session.
type Ref struct {
	Bot string `json:"bot"` // Bot is the bot's name: 1 to 64 letters, digits, '.', '_', '-' and ':'.
	ID  string `json:"id"`  // ID is the session's id within the bot: 1 to 512 bytes of any kind.
}

// String returns bot/id, or bot/"id" with the id quoted as in Go, if it is not
// plain text in UTF-8 without white space and control characters. [ParseRef]
// reads both.
func (r Ref) String() string {
	if plain(r.ID) {
		return r.Bot + "/" + r.ID
	}
	return r.Bot + "/" + strconv.Quote(r.ID)
}

func plain(id string) bool {
	if id == "" || id[0] == '"' || !utf8.ValidString(id) {
		return false
	}
	for _, c := range id {
		if c == unicode.ReplacementChar || !unicode.IsGraphic(c) || unicode.IsSpace(c) {
			return false
		}
	}
	return true
}

// ParseRef reads what [Ref.String] returns. The bot's name ends at the first
// slash; the id may have more of them. It returns [ErrInvalid] for anything
// else.
func ParseRef(s string) (Ref, error) {
	bot, id, ok := strings.Cut(s, "/")
	if !ok {
		return Ref{}, fmt.Errorf("%w: session %q: want bot/id", ErrInvalid, s)
	}
	if strings.HasPrefix(id, `"`) {
		unquoted, err := strconv.Unquote(id)
		if err != nil {
			return Ref{}, fmt.Errorf("%w: session %q: the quoted id does not end or holds a bad escape", ErrInvalid, s)
		}
		id = unquoted
	}
	r := Ref{Bot: bot, ID: id}
	return r, r.Validate()
}

// Validate returns [ErrInvalid] if the Ref cannot name a session.
func (r Ref) Validate() error {
	if err := ValidBot(r.Bot); err != nil {
		return err
	}
	return validLength("session id", r.ID, 1, MaxID)
}

// ValidBot returns [ErrInvalid] if name cannot be a bot's.
func ValidBot(name string) error {
	if err := validLength("bot name", name, 1, MaxBot); err != nil {
		return err
	}
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("._-:", c) >= 0:
		default:
			return fmt.Errorf("%w: bot name %q: %q is not a letter, a digit, '.', '_', '-' or ':'", ErrInvalid, name, rune(c))
		}
	}
	return nil
}

// ValidState returns [ErrInvalid] if name cannot be a state's: if it is empty,
// longer than [MaxState], or has a NUL.
func ValidState(name string) error { return validName("state", name, 1, MaxState) }

// ValidKey returns [ErrInvalid] if name cannot be a key of the private data or
// the name of a flag: if it is empty or longer than [MaxKey]. kind is what the
// error calls it.
func ValidKey(kind, name string) error { return validLength(kind, name, 1, MaxKey) }

// ValidLabel returns [ErrInvalid] if name cannot be a platform, a user or an
// event's kind: if it is longer than [MaxLabel] or has a NUL. It may be empty.
// kind is what the error calls it.
func ValidLabel(kind, name string) error { return validName(kind, name, 0, MaxLabel) }

func validName(kind, name string, least, most int) error {
	if strings.IndexByte(name, 0) >= 0 {
		return fmt.Errorf("%w: %s %q holds a NUL byte", ErrInvalid, kind, name)
	}
	return validLength(kind, name, least, most)
}

func validLength(kind, name string, least, most int) error {
	switch {
	case len(name) < least:
		return fmt.Errorf("%w: the %s is empty", ErrInvalid, kind)
	case len(name) > most:
		return fmt.Errorf("%w: the %s has %d bytes, the most is %d", ErrInvalid, kind, len(name), most)
	}
	return nil
}
