package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/store"
)

// settingsOptions are what settings was asked.
type settingsOptions struct {
	*env
	bot    string
	change []string // name=value
	json   bool
}

func newSettings(e *env) *cobra.Command {
	o := &settingsOptions{env: e}
	cmd := &cobra.Command{
		Use:   "settings BOT [NAME=VALUE ...]",
		Short: "Show a bot's settings, or change them for all processes",
		Long: `Show the settings of a bot, which are kept with its data, or change some of
them. A change acts in every process within ten seconds. Times are written as
168h or 1m30s; ttl=never keeps sessions for ever; an empty value is the default.`,
		Example: `  botsession settings pizza
  botsession settings pizza ttl=168h historylimit=500`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(errors.New("a bot is needed"), cmd.CommandPath()+" pizza")
			}
			o.bot, o.change = args[0], args[1:]
			if err := botArg(o.bot); err != nil {
				return err
			}
			if err := setAll(&store.BotOptions{}, o.change); err != nil {
				return usage(err, cmd.CommandPath()+" "+o.bot+" lists the settings")
			}
			return nil
		},
		ValidArgsFunction: e.completeBot,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	cmd.Flags().BoolVar(&o.json, "json", false, "one JSON object")
	return cmd
}

func (o *settingsOptions) run(ctx context.Context) error {
	st, err := o.open(ctx, len(o.change) == 0)
	if err != nil {
		return err
	}
	defer st.Close()
	bot, err := o.declared(ctx, st, o.bot)
	if err != nil {
		return err
	}
	if len(o.change) > 0 {
		err := bot.Configure(ctx, func(opts *store.BotOptions) { _ = setAll(opts, o.change) }) // Args has tried it
		if err != nil {
			return err
		}
	}
	now, err := bot.Settings(ctx)
	if err != nil {
		return err
	}
	if o.json {
		return text.WriteJSON(o.out, settingsJSON(o.bot, now))
	}
	t := text.NewTable(o.out, "SETTING", "VALUE", "WHAT IT IS")
	t.Optional(3)
	fields := reflect.ValueOf(now.Options)
	for i := range fields.NumField() {
		name := strings.ToLower(fields.Type().Field(i).Name)
		t.Row(name, text.Clean(settingText(fields.Field(i).Interface())), meanings[name])
	}
	t.Render()
	_, err = fmt.Fprintf(o.out, "\nrevision %d, of %s, by %s\n", now.Revision, now.Changed.In(o.zone).Format("2006-01-02 15:04:05 MST"), text.Clean(now.By))
	return err
}

// meanings says what each setting is, in 44 columns.
var meanings = map[string]string{
	"initial":      "state in which a session begins",
	"ttl":          "idle time after which a session expires",
	"historylimit": "messages that are kept of a chat; 0: all",
	"inboxlimit":   "events that may wait for one session",
	"inboxbytes":   "bytes that those events may have",
	"dedupewindow": "how long the id of an event is remembered",
	"maxattempts":  "failures until an event or a reply is dead",
	"backoff":      "pause after the first failure; it doubles",
	"maxwait":      "how long Send may put off one reply",
	"deadlimit":    "dead letters that are kept of a session",
	"recordonly":   "whether replies are kept, and not sent",
}

func settingsJSON(bot string, s store.Settings) map[string]any {
	all := map[string]any{"bot": bot, "revision": s.Revision, "changed": s.Changed, "by": s.By}
	fields := reflect.ValueOf(s.Options)
	for i := range fields.NumField() {
		v := fields.Field(i).Interface()
		if _, ok := v.(time.Duration); ok {
			v = settingText(v)
		}
		all[strings.ToLower(fields.Type().Field(i).Name)] = v
	}
	return all
}

// settingText writes a value as setAll reads it.
func settingText(v any) string {
	d, ok := v.(time.Duration)
	switch {
	case !ok:
		return fmt.Sprint(v)
	case d < 0:
		return "never"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// setAll sets fields from texts such as ttl=168h. The case of a name does not matter.
func setAll(opts *store.BotOptions, change []string) error {
	fields := reflect.ValueOf(opts).Elem()
	for _, one := range change {
		name, text, ok := strings.Cut(one, "=")
		if !ok {
			return fmt.Errorf("%q is no NAME=VALUE", one)
		}
		field := fields.FieldByNameFunc(func(f string) bool { return strings.EqualFold(f, name) })
		if !field.IsValid() {
			return fmt.Errorf("no setting is called %q", name)
		}
		if text == "" {
			field.SetZero()
			continue
		}
		var err error
		switch v := field.Addr().Interface().(type) {
		case *string:
			*v = text
		case *int:
			*v, err = strconv.Atoi(text)
		case *bool:
			*v, err = strconv.ParseBool(text)
		case *time.Duration:
			if *v = -1; !strings.EqualFold(text, "never") {
				*v, err = time.ParseDuration(text)
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %q cannot be read", name, text)
		}
	}
	return nil
}
