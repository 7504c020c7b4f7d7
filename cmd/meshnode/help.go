package main

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"meshnode/node/config"
)

func helpVerb() verb {
	return verb{
		name: "help", args: "[verb]", brief: "show this, or the help of a verb",
		examples: []string{"meshnode help start"},
		declare: func(*flag.FlagSet) action {
			return func(_ context.Context, c *console, in input) error {
				if len(in.args) == 0 {
					return c.helpOverview()
				}
				v, ok := findVerb(in.args[0])
				if !ok {
					return c.unknownVerb(in.args[0])
				}
				return c.helpOn(v)
			}
		},
	}
}

// helpOverview prints the help of the whole program.
func (c *console) helpOverview() error {
	var b strings.Builder
	b.WriteString(`meshnode runs apps on every core of every server, and shares the connections among them.

  meshnode [flags]                run this server's node in the foreground
  meshnode <verb> [flags] ...     talk to the node that runs on this server

Verbs:
`)
	var t table
	for _, v := range verbs() {
		words := strings.Join(append([]string{v.name}, v.aliases...), ", ")
		t.row("  "+words, v.brief)
	}
	b.WriteString(t.String())
	b.WriteString("\nFlags of the node (each also as MESHNODE_<FLAG> and as a key of the settings file):\n")
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	config.NewFlags(fs)
	b.WriteString(flagHelp(fs))
	b.WriteString(`
Examples:
  meshnode                        found a cluster
  meshnode -join a.example.com    join the one of that server
  meshnode start server.js        one worker of server.js per core, on every server

Help on a verb: meshnode help <verb>
`)
	return c.printText(b.String())
}

// helpOn prints the help of one verb.
func (c *console) helpOn(v verb) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: meshnode %s\n\n%s.\n", strings.TrimSpace(v.name+" [flags] "+v.args), upperFirst(v.brief))
	for _, line := range v.more {
		b.WriteString(line + "\n")
	}
	if len(v.aliases) > 0 {
		fmt.Fprintf(&b, "\nAlso: %s\n", strings.Join(v.aliases, ", "))
	}
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	v.declare(fs)
	if text := flagHelp(fs); text != "" {
		b.WriteString("\nFlags:\n" + text)
	}
	b.WriteString("\nExamples:\n")
	for _, line := range v.examples {
		b.WriteString("  " + line + "\n")
	}
	return c.printText(b.String())
}

// flagHelp lists the flags of fs; a flag whose usage is "same as -x" is shown beside x.
func flagHelp(fs *flag.FlagSet) string {
	short := map[string]string{}
	fs.VisitAll(func(f *flag.Flag) {
		if long, ok := strings.CutPrefix(f.Usage, sameAs); ok {
			short[long] = f.Name
		}
	})
	var t table
	fs.VisitAll(func(f *flag.Flag) {
		if strings.HasPrefix(f.Usage, sameAs) {
			return
		}
		value, usage := flag.UnquoteUsage(f)
		if b, ok := f.Value.(interface{ IsBoolFlag() bool }); ok && b.IsBoolFlag() {
			value = ""
		}
		name := "-" + f.Name
		if s, ok := short[f.Name]; ok {
			name = "-" + s + ", " + name
		}
		t.row(strings.TrimRight("  "+name+" "+value, " "), strings.TrimSpace(strings.TrimPrefix(usage, value)))
	})
	return t.String()
}

// sameAs marks the usage of a flag that is another name of one.
const sameAs = "same as -"

func (c *console) printText(text string) error {
	_, err := fmt.Fprint(c.out, text)
	return err
}

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
