package store

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// A parameter is one that a URL may have.
type parameter struct {
	field       string // in the options of a client, which also says the type
	least, most int64  // of a number; a duration is longer than zero and at most longest
	off         bool   // 0 and -1 switch it off
}

const longest = 10 * 365 * 24 * time.Hour

var parameters = map[string]parameter{
	"db":                         {field: "DB", most: 1<<31 - 1},
	"protocol":                   {field: "Protocol", least: 2, most: 3},
	"client_name":                {field: "ClientName"},
	"max_retries":                {field: "MaxRetries", least: 1, most: 1000, off: true},
	"min_retry_backoff":          {field: "MinRetryBackoff", off: true},
	"max_retry_backoff":          {field: "MaxRetryBackoff", off: true},
	"dial_timeout":               {field: "DialTimeout"},
	"read_timeout":               {field: "ReadTimeout", off: true},
	"write_timeout":              {field: "WriteTimeout", off: true},
	"pool_fifo":                  {field: "PoolFIFO"},
	"pool_size":                  {field: "PoolSize", least: 1, most: 100_000},
	"pool_timeout":               {field: "PoolTimeout"},
	"min_idle_conns":             {field: "MinIdleConns", most: 100_000},
	"max_idle_conns":             {field: "MaxIdleConns", most: 100_000},
	"max_active_conns":           {field: "MaxActiveConns", most: 100_000},
	"max_concurrent_dials":       {field: "MaxConcurrentDials", least: 1, most: 100_000},
	"pipeline_pool_size":         {field: "PipelinePoolSize", least: 1, most: 100_000, off: true},
	"pipeline_read_buffer_size":  {field: "PipelineReadBufferSize", least: 1 << 10, most: 64 << 20},
	"pipeline_write_buffer_size": {field: "PipelineWriteBufferSize", least: 1 << 10, most: 64 << 20},
	"conn_max_idle_time":         {field: "ConnMaxIdleTime", off: true},
	"idle_timeout":               {field: "ConnMaxIdleTime", off: true},
	"conn_max_lifetime":          {field: "ConnMaxLifetime", off: true},
	"max_conn_age":               {field: "ConnMaxLifetime", off: true},
	"conn_max_lifetime_jitter":   {field: "ConnMaxLifetimeJitter"},
	"skip_verify":                {field: "TLSConfig"},
	"sentinel_username":          {field: "SentinelUsername"},
	"sentinel_password":          {field: "SentinelPassword"},
}

// takeParams reads "name=value&name=value". In a query + is read as itself by
// some and as a space by others, and ; as itself or as &: both are refused.
func takeParams(query string) (map[string]string, error) {
	params := map[string]string{}
	if query == "" {
		return params, nil
	}
	for pair := range strings.SplitSeq(query, "&") {
		name, text, _ := strings.Cut(pair, "=")
		p, known := parameters[name]
		if !known { // the name may be a part of a password
			return nil, fmt.Errorf("it has an unknown parameter; known are %s (in a password write ? as %%3F and & as %%26)",
				strings.Join(slices.Sorted(maps.Keys(parameters)), ", "))
		}
		for other := range params {
			if parameters[other].field == p.field {
				return nil, fmt.Errorf("the parameter %s, or another name of it, is given twice", name)
			}
		}
		if text == "" {
			return nil, fmt.Errorf("the parameter %s has no value", name)
		}
		if strings.ContainsAny(text, "+;") {
			return nil, fmt.Errorf("the parameter %s has a + or a ;: write %%2B or %%3B, and a space as %%20", name)
		}
		value, err := unescape(text, "the parameter "+name)
		if err != nil {
			return nil, err
		}
		params[name] = value
	}
	return params, nil
}

// setParams sets the parameters in the options.
func (t *target) setParams() error {
	options := reflect.ValueOf(t.options).Elem()
	_, cluster := t.options.(*redis.ClusterOptions)
	for _, name := range slices.Sorted(maps.Keys(t.params)) {
		p := parameters[name]
		field := options.FieldByName(p.field)
		if !field.IsValid() {
			return fmt.Errorf("the parameter %s means nothing for this kind of server", name)
		}
		if want := p.set(field, t.params[name]); want != "" {
			return fmt.Errorf("the parameter %s wants %s", name, want)
		}
		// A cluster client turns the -1 of these into 0, which its nodes' clients read as the default.
		if cluster && p.off && field.Int() == -1 && slices.Contains([]string{"ReadTimeout", "WriteTimeout", "MinRetryBackoff", "MaxRetryBackoff"}, p.field) {
			return fmt.Errorf("the parameter %s cannot be switched off for a cluster", name)
		}
	}
	jitter, life := options.FieldByName("ConnMaxLifetimeJitter"), options.FieldByName("ConnMaxLifetime")
	if jitter.Int() > max(life.Int(), 0) {
		return errors.New("the parameter conn_max_lifetime_jitter wants a conn_max_lifetime that is no shorter")
	}
	return nil
}

// set returns what is wanted where the text is not that.
func (p parameter) set(field reflect.Value, text string) (want string) {
	switch v := field.Addr().Interface().(type) {
	case *string:
		if p.field == "ClientName" && strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return "printable ASCII without a space: the server takes no other name"
		}
		*v = text
	case *bool:
		return setBool(v, text)
	case **tls.Config: // skip_verify
		if *v == nil {
			return "TLS: rediss"
		}
		return setBool(&(*v).InsecureSkipVerify, text)
	case *int:
		n, err := strconv.ParseInt(text, 10, 64)
		switch {
		case err == nil && p.off && (n == 0 || n == -1):
			*v = -1
		case err != nil || n < p.least || n > p.most:
			return fmt.Sprintf("a number from %d to %d", p.least, p.most) + p.orOff()
		default:
			*v = int(n)
		}
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if n, e := strconv.ParseInt(text, 10, 64); e == nil {
			d, err = time.Duration(min(max(n, -1), int64(longest/time.Second)+1))*time.Second, nil
		}
		switch {
		case err == nil && p.off && (d == 0 || text == "-1"):
			*v = -1
		case err != nil || d <= 0 || d > longest:
			return "a duration such as 500ms or 3s, or a number of seconds, of at most ten years" + p.orOff()
		default:
			*v = d
		}
	}
	return ""
}

func (p parameter) orOff() string {
	if p.off {
		return ", or 0 to switch it off"
	}
	return ""
}

func setBool(to *bool, text string) (want string) {
	switch text {
	case "true", "1":
		*to = true
	case "false", "0":
		*to = false
	default:
		return "true or false"
	}
	return ""
}
