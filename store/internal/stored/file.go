package stored

import (
	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
)

// EncodeFile writes what is known of a file as the list [name, type, size], the
// size in bytes: that of Data, or Size where there is no Data. The bytes
// themselves have a key of their own.
func EncodeFile(c codec.Codec, f session.File) (codec.Encoded, error) {
	return c.Encode([]any{f.Name, f.Type, sizeOf(f)})
}

// DecodeFile reads what [EncodeFile] wrote. It returns
// [session.ErrCorrupt] for anything else.
func DecodeFile(b []byte) (*session.File, error) {
	return fileOf(readRow(b, "a file", 3))
}

func sizeOf(f session.File) int64 {
	if f.Data != nil {
		return int64(len(f.Data))
	}
	return f.Size
}

func fileOf(r *row) (*session.File, error) {
	f := &session.File{Name: cell[string](r, 0), Type: cell[string](r, 1), Size: cell[int64](r, 2)}
	if r.err != nil {
		return nil, r.err
	}
	return f, nil
}
