package codec

import (
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// fillNumber sets a number to the stored one, if it can hold exactly that. Only
// a float32 may round: to the nearest, within its range.
func fillNumber(to reflect.Value, v any) *misfit {
	fits := false
	switch {
	case to.CanInt():
		n, ok := asInt(v)
		if fits = ok && !to.OverflowInt(n); fits {
			to.SetInt(n)
		}
	case to.CanUint() && to.Kind() != reflect.Uintptr:
		n, ok := asUint(v)
		if fits = ok && !to.OverflowUint(n); fits {
			to.SetUint(n)
		}
	case to.CanFloat():
		n, ok := asFloat(v, to.Kind())
		if fits = ok && !to.OverflowFloat(n); fits {
			to.SetFloat(n)
		}
	}
	if !fits {
		return newMisfit(v, to, "")
	}
	return nil
}

func asInt(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case float64: // 1<<63 itself is one too many
		return int64(v), v == math.Trunc(v) && v >= math.MinInt64 && v < math.MaxInt64
	}
	return 0, false
}

func asUint(v any) (uint64, bool) {
	switch v := v.(type) {
	case int64:
		return uint64(v), v >= 0
	case uint64:
		return v, true
	case float64:
		return uint64(v), v == math.Trunc(v) && v >= 0 && v < math.MaxUint64
	}
	return 0, false
}

// asFloat takes integers up to the size to which a float of that kind has all of
// them.
func asFloat(v any, kind reflect.Kind) (float64, bool) {
	exact := int64(1 << 53)
	if kind == reflect.Float32 {
		exact = 1 << 24
	}
	switch v := v.(type) {
	case int64:
		return float64(v), -exact <= v && v <= exact
	case float64:
		return v, true
	}
	return 0, false
}

// shapeNumber takes a literal that an int64, a uint64 or a float64 keeps digit by
// digit.
func shapeNumber(n json.Number) (any, error) {
	switch v := number(n).(type) {
	case float64:
		if digits(string(n)) == digits(strconv.FormatFloat(v, 'e', -1, 64)) {
			return v, nil
		}
	case int64, uint64:
		return v, nil
	}
	return nil, invalid("a number that no int64, uint64 or float64 can hold")
}

// digits returns the significant digits of a literal.
func digits(s string) string {
	mantissa, _, _ := strings.Cut(strings.ToLower(s), "e")
	return strings.Trim(strings.ReplaceAll(strings.TrimPrefix(mantissa, "-"), ".", ""), "0")
}
