package main

import (
	"strings"
)

// rootData is the data folder that systemd makes for the service.
const rootData = "/var/lib/meshnode"

// text is the unit. deploy/meshnode.service is the one for /usr/local/bin, the user meshnode and no flags.
func (u unit) text() string {
	var b strings.Builder
	line := func(words ...string) { b.WriteString(strings.Join(words, "") + "\n") }
	line("[Unit]")
	line("Description=meshnode: runs apps on every core of every server and shares their connections")
	line("Wants=network-online.target")
	line("After=network-online.target")
	line("# It is never given up: a server that comes back after hours is to rejoin by itself.")
	line("StartLimitIntervalSec=0")
	line()
	line("[Service]")
	line("# It says when it is up, and goes on saying that it is well.")
	line("Type=notify")
	line("NotifyAccess=main")
	line("WatchdogSec=30")
	line("# A server that joins waits for the others as long as it takes.")
	line("TimeoutStartSec=infinity")
	if u.user != "root" {
		line("User=", u.user)
	}
	line("# Any flag as MESHNODE_<FLAG>, MESHNODE_KEY too; owned by root, mode 0600.")
	line("EnvironmentFile=-/etc/meshnode/meshnode.env")
	line("Environment=", unitWord("MESHNODE_DATA_DIR="+u.dataDir))
	if u.path != "" {
		line("# Where workers' programs are, node among them.")
		line("Environment=", unitWord("PATH="+u.path))
	}
	line("ExecStart=", command(append([]string{u.program}, u.args...)...))
	line("# systemctl reload puts the program that is on the disk now in the place of the running one; workers stay.")
	line("ExecReload=", command(u.program, "upgrade", u.program))
	line("Restart=always")
	line("RestartSec=100ms")
	line()
	if u.dataDir == rootData {
		line("# State survives upgrades; only its owner may read it, the cluster key is in it.")
		line("StateDirectory=meshnode")
		line("StateDirectoryMode=0700")
		line()
	}
	line("# The node is asked to stop and ends its workers itself, after their connections; what is left at the end is killed.")
	line("KillMode=mixed")
	line("TimeoutStopSec=90")
	line("# A worker that runs out of memory is the node's to replace, and no reason to stop the service. The node itself goes last.")
	line("OOMPolicy=continue\nOOMScoreAdjust=-500")
	line("# Limits on workers are cgroups below the service's own.")
	line("Delegate=yes")
	line()
	line("# Two descriptors for each connection that crosses this server; the default of 1024 is soon used up.")
	line("LimitNOFILE=1048576")
	if u.user != "root" {
		line("# Ports below 1024 without root.")
		line("AmbientCapabilities=CAP_NET_BIND_SERVICE")
		b.WriteString(confined())
	}
	line()
	line("[Install]")
	line("WantedBy=multi-user.target")
	return b.String()
}

// confined is what a service that is not root's cannot do.
func confined() string {
	var b strings.Builder
	b.WriteString("# More than that neither the node nor a worker ever gets; and what no app has to do, none can.\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\n")
	for _, key := range []string{"NoNewPrivileges", "RestrictSUIDSGID", "ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "ProtectClock",
		"ProtectHostname", "RestrictRealtime", "LockPersonality"} {
		b.WriteString(key + "=yes\n")
	}
	b.WriteString("ProtectSystem=full\nSystemCallArchitectures=native\n")
	return b.String()
}

// command is a command line of a unit, where also $ means more than it is.
func command(words ...string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = unitWord(strings.ReplaceAll(w, "$", "$$"))
	}
	return strings.Join(out, " ")
}

// unitWord is a word of a unit: systemd takes % for more than it is, and spaces for the end.
func unitWord(word string) string {
	word = strings.NewReplacer("%", "%%", `\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(word)
	if strings.ContainsAny(word, " \t'\";") || word == "" {
		return `"` + word + `"`
	}
	return word
}
