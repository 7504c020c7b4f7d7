// Package appfile reads the files in which operators describe their apps: PM2's ecosystem files, package.json with apps, and our own
// meshnode.yaml. It knows what PM2's keys mean, and turns an app of a file into a spec.App.
//
// It decides nothing about how an app is run, and asks no node: a file can be checked where none runs. Defaults that the file leaves open
// stay open, but for what PM2's files mean by leaving it out: one worker, and SIGINT to stop it.
//
// JavaScript is evaluated by the user's own Node.js, once, within a limit on time and size, and never here. JSON is read by a reader of
// our own: PM2 takes what JavaScript takes, which is more than any library's idea of JSON, and errors name their line.
//
// Concurrency: plain functions over plain values; Load blocks while Node.js runs.
//
// Errors: all problems of a file at once, joined, each naming the file, the line where the format has lines, the app and the key.
//
// Files in reading order: load.go (from a file to its apps), draft.go (from one app's keys to a spec.App), keys.go and groups.go (the
// keys), values.go (times, sizes, lists), program.go and split.go (what runs a script), tree.go, json.go, yaml.go and script.go (formats).
package appfile
