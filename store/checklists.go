package store

import (
	"context"
	"regexp"
	"time"

	"github.com/botsession/botsession/store/internal/call"
	"github.com/botsession/botsession/store/internal/ids"
	"github.com/botsession/botsession/store/internal/stored"
)

// first reads the beginnings of all lists and hashes at once. For most sessions that
// is all of them.
func (e *exam) first(ctx context.Context) error {
	e.elements, e.lines = map[string]*call.Value[[]string]{}, map[string]*call.Value[call.Fields]{}
	var commands []call.Command
	for name, key := range e.keys {
		switch {
		case key.typ != forms[name].typ || name == "session":
		case key.typ == "list":
			e.elements[name] = e.part(name, 0)
			commands = append(commands, e.elements[name])
		case key.typ == "hash":
			e.lines[name] = e.scan(name, 0)
			commands = append(commands, e.lines[name])
		}
	}
	_ = e.store.read(ctx, commands...) // each has its own error
	return nil
}

func (e *exam) part(name string, from int64) *call.Value[[]string] {
	return call.LRange(e.store.layout.key(name, e.at), from, from+elementsAtOnce-1)
}

func (e *exam) scan(name string, from uint64) *call.Value[call.Fields] {
	return call.HScan(e.store.layout.key(name, e.at), from, pageSize)
}

// eachElement goes through a list of the session, if there is one.
func (e *exam) eachElement(ctx context.Context, name string, see func(element string) error) error {
	for part, from := e.elements[name], int64(0); part != nil; {
		if part.Err != nil {
			return part.Err
		}
		for i, element := range part.Val {
			if err := see(element); err != nil {
				e.wrong(name, "the element with the index %d of the %s cannot be read: %s", from+int64(i), name, because(err))
			}
		}
		if len(part.Val) < elementsAtOnce {
			return nil
		}
		from += elementsAtOnce
		part = e.part(name, from)
		_ = e.store.read(ctx, part)
	}
	return nil
}

// eachLine goes through a hash of the session, if there is one.
func (e *exam) eachLine(ctx context.Context, name string, see func(field, value string)) error {
	for part := e.lines[name]; part != nil; {
		if part.Err != nil {
			return part.Err
		}
		for i := 0; i+1 < len(part.Val.Pairs); i += 2 {
			see(part.Val.Pairs[i], part.Val.Pairs[i+1])
		}
		if part.Val.Next == 0 {
			return nil
		}
		part = e.scan(name, part.Val.Next)
		_ = e.store.read(ctx, part)
	}
	return nil
}

// chat checks the messages, and the file.
func (e *exam) chat(ctx context.Context) error {
	if e.rec != nil {
		if size := e.keys["history"].size; size > e.rec.Seq() {
			e.wrong("history", "the history has %d messages, and the session's record counts %d", size, e.rec.Seq())
		}
		file, err := e.rec.File()
		switch _, bytes := e.keys["file"]; {
		case err != nil: // found with the hash
		case file == nil && bytes:
			e.wrong("file", "the file's bytes are there, and its name is not")
		case file != nil && !bytes:
			e.wrong("file", "the file's name is there, and its bytes are not")
		}
	}
	return e.eachElement(ctx, "history", func(element string) error {
		_, err := stored.DecodeEntry([]byte(element))
		return err
	})
}

var callLine = regexp.MustCompile(`^[0-9]+ `)

// inbox checks the events that wait, and what is known of those that came.
func (e *exam) inbox(ctx context.Context) error {
	hand := ""
	if e.rec != nil {
		var err error
		if hand, err = e.rec.Hand(); err != nil {
			e.unreadable(err)
		} else if event := decodeElement(hand); hand != "" && event.err != nil {
			e.wrong("session", "the event in hand cannot be read: %s", because(event.err))
		}
	}
	if key, there := e.keys["inbox"]; there && key.typ != "list" {
		return nil
	}
	noted, bytes := map[string]bool{}, int64(0) // noted has the events that wait
	err := e.eachElement(ctx, "inbox", func(element string) error {
		bytes += int64(len(element))
		event := decodeElement(element)
		noted[string(event.digest)] = event.err != nil // which is found already
		return event.err
	})
	if err != nil {
		return err
	}
	e.bytes("inbox", bytes+int64(len(hand)))
	err = e.eachLine(ctx, "events", func(digest, text string) {
		_, waits := noted[digest]
		line, err := stored.ReadLine(text)
		switch {
		case digest == "": // the cursor of the sweep
		case len(digest) != ids.DigestSize || err != nil:
			e.wrong("events", "the line of the event %x cannot be read", digest)
		case line.Status == stored.LineVoid:
			return
		case line.Status == stored.LineWaits && !waits:
			e.wrong("events", "the event %x is noted as one that waits, and is not in the inbox", digest)
		case line.Status != stored.LineWaits && waits:
			e.wrong("events", "the event %x waits, and is noted as one that is done", digest)
		}
		if waits {
			noted[digest] = true
		}
	})
	if err != nil || e.keys["events"].typ != "hash" { // it may have expired
		return err
	}
	for digest, is := range noted {
		if !is {
			e.wrong("events", "the event %x waits, and is not noted: a duplicate would be handled, too", digest)
		}
	}
	return nil
}

// bytes compares the bytes of a list with those that the hash counts: fewer
// than there are, where the list is older than the hash.
func (e *exam) bytes(name string, are int64) {
	if e.rec == nil {
		return
	}
	inbox, outbox := e.rec.Bytes()
	counted := inbox
	if name == "outbox" {
		counted = outbox
	}
	if counted > are {
		e.wrong("session", "its hash counts %d bytes in the %s, and there are %d", counted, name, are)
	}
}

// outbox checks the replies that are not sent.
func (e *exam) outbox(ctx context.Context) error {
	if key, there := e.keys["outbox"]; there && key.typ != "list" {
		return nil
	}
	bytes := int64(0)
	err := e.eachElement(ctx, "outbox", func(element string) error {
		bytes += int64(len(element))
		reply, err := stored.ReadUnsent([]byte(element))
		if err == nil {
			_, err = stored.DecodeMessage(reply.Message)
		}
		return err
	})
	if err == nil {
		e.bytes("outbox", bytes)
	}
	return err
}

// letters checks the dead letters, and that they are listed.
func (e *exam) letters(ctx context.Context) error {
	var last time.Time
	err := e.eachElement(ctx, "letters", func(element string) error {
		letter, err := stored.DecodeDeadLetter([]byte(element))
		if last = letter.Time; err != nil {
			last = time.Time{}
		}
		return err
	})
	if err != nil {
		return err
	}
	_, there := e.keys["letters"]
	switch listed := e.listed("dead"); {
	case there && e.lacks("dead"):
		e.wrong("dead", "the key dead does not list it, and it has dead letters")
	case !there && e.lists("dead") && e.now.Sub(time.UnixMilli(listed)) < deadLife-slack:
		e.wrong("dead", "the key dead lists it, and it has no dead letters")
	case there && e.lists("dead") && !last.IsZero() && last.UnixMilli() != listed:
		e.wrong("dead", "the key dead lists it at %s, and its last dead letter is of %s", moment(listed), moment(last.UnixMilli()))
	}
	return nil
}

// calls checks the replies that are kept of calls.
func (e *exam) calls(ctx context.Context) error {
	return e.eachLine(ctx, "calls", func(op, line string) {
		if !callLine.MatchString(line) {
			e.wrong("calls", "the line of the call %.80q cannot be read", op)
		}
	})
}
