package stored

import (
	"strconv"
	"time"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/causes"
	"github.com/botsession/botsession/store/internal/ids"
)

// Snapshot decodes the whole record. Values that cannot be decoded are missing
// in the snapshot, which holds the rest, and each gives a
// [session.CorruptError]; the error joins them in one line. Flags and Data are never nil.
func (r *Record) Snapshot() (session.Snapshot, error) {
	message, messageErr := r.Message()
	intent, intentErr := r.Intent()
	file, fileErr := r.File()
	errs := []error{messageErr, intentErr, fileErr}

	flags := make(map[string]bool)
	for _, name := range r.fields.names(PrefixFlag) {
		flags[name] = true
	}
	data := make(map[string]any)
	for _, key := range r.Keys() {
		value, err := read(r, PrefixData+key, codec.DecodeAny)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		data[key] = value
	}
	return session.Snapshot{
		Ref:      r.ref,
		Life:     r.Life(),
		Version:  r.Version(),
		State:    r.State(),
		Platform: r.Platform(),
		User:     r.User(),
		Message:  message,
		Intent:   intent,
		File:     file,
		Flags:    flags,
		Data:     data,
		Seq:      r.Seq(),
		Created:  moment(r.created),
		Active:   moment(r.active),
		Expires:  moment(r.expires),
	}, causes.Join(errs...)
}

// Status returns how the session stands. The counts of messages, waiting events
// and unsent replies, and the server's clock, are left for the caller to fill:
// the hash does not hold them.
func (r *Record) Status() session.Status {
	holder, work, since := ids.Call(r.holder).Replica(), r.work, time.Time{}
	if work == "free" {
		holder, work = "", ""
	} else if us, err := strconv.ParseInt(r.token, 10, 64); err == nil {
		since = time.UnixMilli(us / 1000).UTC() // a token is the moment at which it was made, in microseconds
	}
	return session.Status{
		Ref:      r.ref,
		State:    r.State(),
		Platform: r.Platform(),
		User:     r.User(),
		Version:  r.Version(),
		Since:    moment(r.listed),
		Lease:    session.Lease{Holder: holder, Work: session.Work(work), Token: r.token, Since: since, Until: moment(r.until)},
		Event:    r.retry.event.status(r.fields.value(FieldError)),
		Reply:    r.retry.reply.status(r.fields.value(FieldReplyError)),
		Created:  moment(r.created),
		Active:   moment(r.active),
		Expires:  moment(r.expires),
	}
}
