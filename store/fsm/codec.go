package fsm

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"meshnode/store/spec"
)

// MaxCommandBytes is the largest encoded command, in bytes, header included.
const MaxCommandBytes = 512 << 10

// Kinds of frames. A number is never given a second meaning: old logs hold it.
const (
	kindFound    byte = 1
	kindPut      byte = 2
	kindDelete   byte = 3
	kindLearn    byte = 4
	kindAdvance  byte = 5  // from version 2 on
	kindRefuse   byte = 6  // from version 2 on
	kindSet      byte = 7  // from version 3 on
	kindLose     byte = 8  // from version 4 on
	kindTrust    byte = 9  // from version 4 on
	kindToken    byte = 10 // from version 4 on
	kindOperator byte = 11 // from version 4 on
	kindReseal   byte = 12 // from version 4 on
	kindState    byte = 16
)

// version is the newest version of a frame. It must grow with every new field, because an older
// release that skipped the field would come to another state. Every older version stays readable: logs hold it. What
// version 2 added to version 1 (rollouts, history) is absent there, and an absent field means what it meant before. A frame is written as
// the lowest version from 2 on that has all that is in it, so that servers of a release before understand it until somebody uses what is new.
const (
	version       byte = 4
	thirdVersion  byte = 3
	plainVersion  byte = 2
	oldestVersion byte = 1
)

// versionOf is the lowest version that has all fields of the content.
func versionOf(content any) byte {
	switch c := content.(type) {
	case *Put:
		return versionOfApp(c.App)
	case *Set:
		return thirdVersion
	case *Learn:
		if len(spec.Streams(c.Listen)) < len(c.Listen) {
			return thirdVersion
		}
	case *Lose, *Trust, *Token, *Operator, *Reseal:
		return version
	case *spec.Cluster:
		return versionOfState(c)
	}
	return plainVersion
}

func versionOfApp(app spec.App) byte {
	switch {
	case len(app.Process.SecretEnv) > 0:
		return version
	case !app.Plain():
		return thirdVersion
	}
	return plainVersion
}

func versionOfState(c *spec.Cluster) byte {
	v := plainVersion
	switch {
	case len(c.Lost)+len(c.Trusted)+len(c.Tokens)+len(c.Operators) > 0:
		v = version
	case len(c.Settings) > 0:
		v = thirdVersion
	}
	for _, app := range c.Apps {
		v = max(v, versionOfApp(app))
	}
	for _, list := range c.History {
		for _, past := range list {
			v = max(v, versionOfApp(past.App))
		}
	}
	return v
}

// headerBytes is the size of a frame's header: kind, version, length of the body, CRC32C of all the rest.
const headerBytes = 1 + 1 + 4 + 4

// Encode returns the bytes of c for the log. It fails with ErrInvalid or ErrTooLarge.
func Encode(c Command) ([]byte, error) {
	kind, field, err := c.content()
	if err != nil {
		return nil, err
	}
	return encodeFrame(kind, field, MaxCommandBytes)
}

// Decode returns the command that b holds, and only for bytes that Encode could have written. It fails with ErrCorrupt,
// ErrUnsupported or ErrTooLarge.
func Decode(b []byte) (Command, error) {
	kind, body, err := decodeFrame(b, MaxCommandBytes)
	if err != nil {
		return Command{}, err
	}
	var c Command
	switch kind {
	case kindFound:
		c.Found, err = decodeBody[Found](body)
	case kindPut:
		c.Put, err = decodeBody[Put](body)
	case kindDelete:
		c.Delete, err = decodeBody[Delete](body)
	case kindLearn:
		c.Learn, err = decodeBody[Learn](body)
	case kindAdvance:
		c.Advance, err = decodeBody[Advance](body)
	case kindRefuse:
		c.Refuse, err = decodeBody[Refuse](body)
	case kindSet:
		c.Set, err = decodeBody[Set](body)
	case kindLose:
		c.Lose, err = decodeBody[Lose](body)
	case kindTrust:
		c.Trust, err = decodeBody[Trust](body)
	case kindToken:
		c.Token, err = decodeBody[Token](body)
	case kindReseal:
		c.Reseal, err = decodeBody[Reseal](body)
	case kindOperator:
		c.Operator, err = decodeBody[Operator](body)
	default:
		return Command{}, fmt.Errorf("command of kind %d: %w", kind, ErrUnsupported)
	}
	if err != nil {
		return Command{}, err
	}
	return c, nil
}

func encodeFrame(kind byte, content any, limit int) ([]byte, error) {
	body, err := json.Marshal(content)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(body)+headerBytes > limit {
		return nil, fmt.Errorf("%d bytes, at most %d are allowed: %w", len(body)+headerBytes, limit, ErrTooLarge)
	}
	b := make([]byte, headerBytes, headerBytes+len(body))
	b[0], b[1] = kind, versionOf(content)
	binary.BigEndian.PutUint32(b[2:], uint32(len(body)))
	b = append(b, body...)
	binary.BigEndian.PutUint32(b[6:], checksum(b))
	return b, nil
}

func decodeFrame(b []byte, limit int) (byte, []byte, error) {
	if len(b) > limit {
		return 0, nil, fmt.Errorf("%d bytes, at most %d are allowed: %w", len(b), limit, ErrTooLarge)
	}
	if len(b) < headerBytes {
		return 0, nil, fmt.Errorf("%d bytes are no frame: %w", len(b), ErrCorrupt)
	}
	if n := binary.BigEndian.Uint32(b[2:]); int64(n) != int64(len(b)-headerBytes) {
		return 0, nil, fmt.Errorf("length says %d, found %d: %w", n, len(b)-headerBytes, ErrCorrupt)
	}
	if binary.BigEndian.Uint32(b[6:]) != checksum(b) {
		return 0, nil, fmt.Errorf("checksum does not match: %w", ErrCorrupt)
	}
	if b[1] < oldestVersion || b[1] > version {
		return 0, nil, fmt.Errorf("version %d, this release reads %d to %d: %w", b[1], oldestVersion, version, ErrUnsupported)
	}
	return b[0], b[headerBytes:], nil
}

// checksum covers everything but itself.
func checksum(frame []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, table, frame[:6])
	return crc32.Update(sum, table, frame[headerBytes:])
}

func decodeBody[T any](body []byte) (*T, error) {
	var v *T
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("more than one value: %w", ErrCorrupt)
	}
	if v == nil {
		return nil, fmt.Errorf("empty: %w", ErrCorrupt)
	}
	return v, nil
}
