package spec

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Settings of the cluster, which every server follows. A key that is not set has its default.
const (
	// SettingForward is how forwards cross the network between servers: ForwardTLS, the default, or ForwardPlain.
	SettingForward = "forward"
	// SettingIdle is after which time without a byte a connection that crosses a server is reset, such as "1h"; "0", the default, is never.
	SettingIdle = "idle_timeout"
)

// Values of SettingForward.
const (
	ForwardTLS   = "tls"   // ForwardTLS is mutual TLS.
	ForwardPlain = "plain" // ForwardPlain is plain text between servers that have proved that they hold the cluster key.
)

// MaxSettings is the largest number of settings in a cluster.
const MaxSettings = 64

// MinIdle is the shortest SettingIdle but never.
const MinIdle = time.Second

// defaults of all settings.
func defaults() map[string]string {
	return map[string]string{SettingForward: ForwardTLS, SettingIdle: "0"}
}

// NormalSetting checks a setting and returns the value as it is kept: "" for the default.
func NormalSetting(key, value string) (string, error) {
	switch key {
	case SettingForward:
		if !slices.Contains([]string{"", ForwardTLS, ForwardPlain}, value) {
			return "", fmt.Errorf("%s: %q is neither %s nor %s", key, value, ForwardTLS, ForwardPlain)
		}
	case SettingIdle:
		if value == "" || value == "0" {
			return "", nil
		}
		d, err := time.ParseDuration(value)
		if err != nil || d < MinIdle {
			return "", fmt.Errorf("%s: %q is no time of at least %s, like 10m, and not 0 for never", key, value, MinIdle)
		}
		value = d.String()
	default:
		return "", fmt.Errorf("there is no setting %q; there are %s", key, strings.Join(SettingKeys(), ", "))
	}
	if value == defaults()[key] {
		return "", nil
	}
	return value, nil
}

// SettingKeys lists the keys of all settings, sorted.
func SettingKeys() []string { return []string{SettingForward, SettingIdle} }

// Setting returns the value of a setting, its default where it is not set.
func (c *Cluster) Setting(key string) string {
	if v := c.Settings[key]; v != "" {
		return v
	}
	return defaults()[key]
}

// IdleTimeout returns SettingIdle, 0 for never. What cannot be read is never: it is of a newer release.
func (c *Cluster) IdleTimeout() time.Duration {
	d, err := time.ParseDuration(c.Setting(SettingIdle))
	if err != nil {
		return 0
	}
	return max(d, 0)
}
