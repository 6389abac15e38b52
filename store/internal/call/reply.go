package call

import "strconv"

// A Reply is what a script returned: its status, the server's time in ms, the rest.
type Reply []any

func (r Reply) Status() string { return r.Text(0) }

func (r Reply) Text(i int) string {
	if i >= len(r) {
		return ""
	}
	text, _ := r[i].(string)
	return text
}

// Int reads a number, which scripts send as such or in decimal.
func (r Reply) Int(i int) int64 {
	if i >= len(r) {
		return 0
	}
	switch v := r[i].(type) {
	case int64:
		return v
	case string:
		n, _ := strconv.ParseInt(v, 10, 64)
		return n
	}
	return 0
}

func (r Reply) List(i int) Reply {
	if i >= len(r) {
		return nil
	}
	list, _ := r[i].([]any)
	return list
}

// Texts reads a list of strings.
func (r Reply) Texts(i int) []string {
	list := r.List(i)
	texts := make([]string, len(list))
	for j := range list {
		texts[j] = list.Text(j)
	}
	return texts
}
