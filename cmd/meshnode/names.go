package main

import (
	"context"
	"regexp"
	"slices"

	"meshnode/node/api"
)

// names spells out which apps the arguments mean: each is the name of an app, a namespace, all, or a regular expression between slashes.
// A word that is none of these stays as it is: the node says what it is near to.
func names(ctx context.Context, client *api.Client, args []string) ([]string, error) {
	if len(args) == 0 {
		return nil, usagef("which app? give its name, or all")
	}
	status, err := client.Status(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, arg := range args {
		found, err := matching(status.Apps, arg)
		if err != nil {
			return nil, err
		}
		for _, name := range found {
			if !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out, nil
}

// matching returns the apps that one word means.
func matching(apps []api.AppStatus, word string) ([]string, error) {
	pick := func(wanted func(a api.AppStatus) bool) []string {
		var out []string
		for _, a := range apps {
			if wanted(a) {
				out = append(out, a.App)
			}
		}
		return out
	}
	if word == allApps {
		return pick(func(api.AppStatus) bool { return true }), nil
	}
	if len(word) > 2 && word[0] == '/' && word[len(word)-1] == '/' {
		pattern, err := regexp.Compile(word[1 : len(word)-1])
		if err != nil {
			return nil, usagef("%s is no regular expression: %v", word, err)
		}
		found := pick(func(a api.AppStatus) bool { return pattern.MatchString(a.App) })
		if found == nil {
			return nil, usagef("no app matches %s", word)
		}
		return found, nil
	}
	if !slices.ContainsFunc(apps, func(a api.AppStatus) bool { return a.App == word }) {
		if found := pick(func(a api.AppStatus) bool { return a.Namespace == word }); found != nil {
			return found, nil
		}
	}
	return []string{word}, nil
}
