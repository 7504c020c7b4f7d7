package spec

import (
	"errors"
	"fmt"
)

// Bounds on operators.
const (
	// MaxOperators is the largest number of operators in a cluster.
	MaxOperators = 256
	// MaxOperatorSeconds is the longest time that an operator's certificate may count, in seconds: a year.
	MaxOperatorSeconds = 366 * 86400
)

// Roles of operators.
const (
	OperatorAdmin  = "admin"  // OperatorAdmin looks and changes.
	OperatorViewer = "viewer" // OperatorViewer looks.
)

// Operator is somebody who may ask the cluster from elsewhere, with a certificate. One that is not in the configuration counts no more.
type Operator struct {
	// Role is OperatorAdmin or OperatorViewer.
	Role string `json:"role"`
	// Serial is the serial number of the certificate, in hexadecimal.
	Serial string `json:"serial"`
	// Created and Expires are in seconds of Unix time.
	Created int64 `json:"created"`
	Expires int64 `json:"expires"`
}

// ValidateOperator reports why an operator of that name cannot be; nil when it can.
func ValidateOperator(name string, o Operator) error {
	var problems []error
	if !appName.MatchString(name) {
		problems = append(problems, fmt.Errorf("operator: %q: use 1 to 63 letters, digits, dots, dashes and underscores, a letter or digit first", clip(name)))
	}
	problems = append(problems, oneOf("role", o.Role, OperatorAdmin, OperatorViewer))
	if o.Serial == "" || len(o.Serial) > 64 {
		problems = append(problems, errors.New("serial: want 1 to 64 letters"))
	}
	if life := o.Expires - o.Created; life <= 0 || life > MaxOperatorSeconds {
		problems = append(problems, fmt.Errorf("expires: %d seconds are not between 1 and %d", life, MaxOperatorSeconds))
	}
	return errors.Join(problems...)
}
