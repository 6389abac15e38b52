package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
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
			return setAll(&store.BotOptions{}, o.change)
		},
		ValidArgsFunction: o.complete,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	cmd.Flags().BoolVar(&o.json, "json", false, "one JSON object")
	return cmd
}

func (o *settingsOptions) run(ctx context.Context) error {
	st, bot, err := o.find(ctx, true) // which writes nothing where there is no such bot
	if err == nil && len(o.change) > 0 {
		st.Close()
		st, bot, err = o.find(ctx, false)
	}
	if err != nil {
		return err
	}
	defer st.Close()
	var was store.BotOptions
	if len(o.change) > 0 {
		err := bot.Configure(ctx, func(opts *store.BotOptions) {
			was = *opts
			_ = setAll(opts, o.change) // Args has tried that
		})
		switch {
		case errors.Is(err, session.ErrInvalid):
			return usage(err, "")
		case errors.Is(err, session.ErrUnknownOutcome):
			return failed(err, "what is there now: botsession settings "+o.bot)
		case err != nil:
			return err
		}
	}
	now, err := bot.Settings(ctx)
	if err != nil {
		return err
	}
	if len(o.change) > 0 {
		o.tell(&was, &now.Options)
	}
	if o.json {
		return text.WriteJSON(o.out, settingsJSON(o.bot, now))
	}
	t := text.NewTable(o.out, "SETTING", "VALUE", "WHAT IT IS")
	t.Optional(3)
	for _, f := range settingFields(&now.Options) {
		t.Row(f.name, text.Clean(settingText(f.value.Interface())), meanings[f.name])
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
	"maxwait":      "how long one event or reply may be put off",
	"deadlimit":    "dead letters that are kept of a session",
	"recordonly":   "whether replies are kept, and not sent",
}

// find opens the store, and takes the bot if it is there.
func (o *settingsOptions) find(ctx context.Context, look bool) (*store.Store, *store.Bot, error) {
	st, err := o.open(ctx, look)
	if err != nil {
		return nil, nil, err
	}
	bot, err := o.declared(ctx, st, o.bot)
	if err != nil {
		st.Close()
		return nil, nil, err
	}
	return st, bot, nil
}

// tell says which of the settings that were to be changed were something else before.
func (o *settingsOptions) tell(was, now *store.BotOptions) {
	var said []string
	for _, f := range settingFields(was) {
		asked := slices.ContainsFunc(o.change, func(one string) bool { name, _, _ := strings.Cut(one, "="); return strings.EqualFold(name, f.name) })
		if old, is := settingText(f.value.Interface()), settingText(fieldOf(now, f.name).Interface()); asked && old != is {
			said = append(said, f.name+" was "+text.Clean(old))
		}
	}
	if len(said) == 0 {
		said = []string{"nothing changed: it is so already"}
	}
	fmt.Fprintln(o.err, strings.Join(said, ", "))
}

// complete completes the bot, then names of settings.
func (o *settingsOptions) complete(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return o.completeBot(cmd, args, begun)
	}
	var names []string
	for _, f := range settingFields(&store.BotOptions{}) {
		if !slices.ContainsFunc(args[1:], func(one string) bool { return strings.HasPrefix(strings.ToLower(one), f.name+"=") }) {
			names = append(names, f.name+"=")
		}
	}
	return names, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}

// A settingField is one of BotOptions, under the name that people write.
type settingField struct {
	name  string
	value reflect.Value
}

func settingFields(opts *store.BotOptions) (all []settingField) {
	v := reflect.ValueOf(opts).Elem()
	for i := range v.NumField() {
		all = append(all, settingField{strings.ToLower(v.Type().Field(i).Name), v.Field(i)})
	}
	return all
}

// fieldOf returns the field of that name, whose case does not matter, or no valid one.
func fieldOf(opts *store.BotOptions, name string) reflect.Value {
	for _, f := range settingFields(opts) {
		if strings.EqualFold(f.name, name) {
			return f.value
		}
	}
	return reflect.Value{}
}

func settingsJSON(bot string, s store.Settings) map[string]any {
	all := map[string]any{"bot": bot, "revision": s.Revision, "changed": s.Changed, "by": s.By}
	for _, f := range settingFields(&s.Options) {
		v := f.value.Interface()
		if _, ok := v.(time.Duration); ok {
			v = settingText(v)
		}
		all[f.name] = v
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
	said := d.String()
	if strings.HasSuffix(said, "m0s") {
		said = strings.TrimSuffix(said, "0s")
	}
	if strings.HasSuffix(said, "h0m") {
		said = strings.TrimSuffix(said, "0m")
	}
	return said
}

// setAll sets fields from texts such as ttl=168h. The case of a name does not matter.
func setAll(opts *store.BotOptions, change []string) error {
	set := map[string]bool{}
	for _, one := range change {
		name, text, ok := strings.Cut(one, "=")
		if !ok {
			return usage(fmt.Errorf("%q is not NAME=VALUE", one), settingNames())
		}
		field := fieldOf(opts, name)
		if !field.IsValid() {
			return usage(fmt.Errorf("no setting is called %q", name), settingNames())
		}
		name = strings.ToLower(name)
		if set[name] {
			return usage(fmt.Errorf("%s is there twice", name), "")
		}
		set[name] = true
		if text == "" {
			field.SetZero()
			continue
		}
		var err error
		what := ""
		switch v := field.Addr().Interface().(type) {
		case *string:
			*v = text
		case *int:
			what = "a whole number"
			*v, err = strconv.Atoi(text)
		case *bool:
			what = "true or false"
			*v, err = strconv.ParseBool(text)
		case *time.Duration:
			what = "a time such as 168h or 1m30s"
			if name == "ttl" {
				what += ", or never"
			}
			if *v = -1; name != "ttl" || !strings.EqualFold(text, "never") {
				*v, err = time.ParseDuration(text)
			}
		}
		if err != nil {
			return usage(fmt.Errorf("%s: %q is not %s", name, text, what), "")
		}
	}
	return nil
}

func settingNames() string {
	var names []string
	for _, f := range settingFields(&store.BotOptions{}) {
		names = append(names, f.name)
	}
	return "the settings are " + strings.Join(names, ", ")
}
