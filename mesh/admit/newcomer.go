package admit

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"time"
)

// exchangeLimit bounds what the two sides do without a person between.
const exchangeLimit = 5 * time.Second

// Stream is an encrypted connection whose two ends can tell that they have the same one.
type Stream interface {
	net.Conn
	// Binding returns a value that only the two ends of this connection have.
	Binding() []byte
}

// ErrWrongProof says that whoever answered at the other end was not told the code, or was told another.
var ErrWrongProof = errors.New("whoever answered was not given this server's code: the code was mistyped, or somebody else answers in the place of a server of the cluster")

// Ask asks for admission on a stream to a server of the cluster, of which nothing needs to be known, and blocks until it is given, refused, or ctx
// ends. It closes the stream. show is called once, with the code; take once, with the key, when whoever sends it has been given the code, and an
// error of it is returned. A *Refusal, ErrWrongProof or an error of the stream says why there is no key.
func Ask(ctx context.Context, c Stream, who Newcomer, show func(Code), take func(key string) error) error {
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := who.validate(); err != nil {
		return err
	}
	code, err := agree(c, who)
	if err != nil {
		return fmt.Errorf("ask for admission: %w", err)
	}
	show(code)
	_ = c.SetDeadline(time.Time{})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	proof, err := expect(c, kindProof, ownLetters) // comes when somebody has typed the code
	if err != nil {
		return fmt.Errorf("wait for admission: %w", err)
	}
	_ = c.SetDeadline(time.Now().Add(exchangeLimit))
	if subtle.ConstantTimeCompare(proof, []byte(code.own)) != 1 {
		_ = writeMessage(c, kindNo, nil)
		return ErrWrongProof
	}
	if err := writeMessage(c, kindYes, nil); err != nil {
		return err
	}
	return receive(c, take)
}

// Redeem gives a token's secret to a server that has been verified to be of the token's cluster, and takes the key. It blocks until the key is there or
// refused, and closes the stream; take and the errors are those of Ask.
func Redeem(ctx context.Context, c Stream, t Token, who Newcomer, take func(key string) error) error {
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := who.validate(); err != nil {
		return err
	}
	_ = c.SetDeadline(time.Now().Add(redeemLimit + exchangeLimit))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := writeMessage(c, kindToken, appendToken(nil, t.secret[:], who)); err != nil {
		return err
	}
	return receive(c, take)
}

// agree works the code out.
func agree(c Stream, who Newcomer) (Code, error) {
	_ = c.SetDeadline(time.Now().Add(exchangeLimit))
	own, err := ownHalf()
	if err != nil {
		return Code{}, err
	}
	value := make([]byte, randomSize)
	if _, err := rand.Read(value); err != nil {
		return Code{}, err
	}
	commitment := sha256.Sum256(value)
	ask := appendAsk(nil, commitment[:], who)
	if err := writeMessage(c, kindAsk, ask); err != nil {
		return Code{}, err
	}
	theirs, err := expect(c, kindNonce, randomSize)
	if err != nil {
		return Code{}, err
	}
	if err := writeMessage(c, kindReveal, value); err != nil {
		return Code{}, err
	}
	if _, err := expect(c, kindWaits, 0); err != nil {
		return Code{}, err
	}
	return Code{bound: boundHalf(c.Binding(), ask, theirs, value), own: own}, nil
}

// receive takes the key and says that it is stored.
func receive(c Stream, take func(key string) error) error {
	key, err := expect(c, kindKey, -1)
	if err != nil {
		return fmt.Errorf("receive the key: %w", err)
	}
	if err := take(string(key)); err != nil {
		return err
	}
	_ = writeMessage(c, kindKept, nil) // the key is here: what the other side makes of it matters to its log only
	return nil
}
