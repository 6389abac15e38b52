package stored

import (
	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
)

// EncodeIntent writes an intent as the list [name, score, sentence, params],
// each parameter as [name, value, info], and no intent as an encoded nil. It
// returns [session.ErrInvalid] for a parameter that cannot be encoded, or not be
// read again into an any.
func EncodeIntent(c codec.Codec, i *session.Intent) (codec.Encoded, error) {
	if i == nil {
		return c.Encode(nil)
	}
	var params []any // nil stays nil
	if i.Params != nil {
		params = make([]any, len(i.Params))
	}
	for n, p := range i.Params {
		params[n] = []any{p.Name, p.Value, p.Info}
	}
	return c.EncodeAny([]any{i.Name, i.Score, i.Sentence, params})
}

// DecodeIntent reads what [EncodeIntent] wrote: nil where that was nil. It
// returns [session.ErrCorrupt] for anything else.
func DecodeIntent(b []byte) (*session.Intent, error) {
	v, err := codec.DecodeAny(b)
	if v == nil || err != nil {
		return nil, err
	}
	r := asRow(v, "an intent", 4)
	i := &session.Intent{Name: cell[string](r, 0), Score: cell[float64](r, 1), Sentence: cell[string](r, 2)}
	params := optional[[]any](r, 3)
	if params != nil {
		i.Params = make([]session.Param, len(params))
	}
	for n, v := range params {
		p := asRow(v, "an intent's parameter", 3)
		i.Params[n].Name = cell[string](p, 0)
		if p.err != nil {
			return nil, p.err
		}
		i.Params[n].Value, i.Params[n].Info = p.items[1], p.items[2]
	}
	if r.err != nil {
		return nil, r.err
	}
	return i, nil
}
