package fsm

import (
	"fmt"
	"maps"

	"meshnode/store/spec"
)

// Operator makes somebody an operator, in the place of one of the same name. Those whose time is over when he is made one are forgotten.
type Operator struct {
	Name string `json:"name"`
	// Operator is nil when the one of that name is to count no more, which is an ErrNotFound when there is none.
	Operator *spec.Operator `json:"operator,omitempty"`
}

func (o *Operator) validate() error {
	if o.Operator == nil {
		return nil
	}
	return spec.ValidateOperator(o.Name, *o.Operator)
}

func operator(next *spec.Cluster, o *Operator) error {
	_, known := next.Operators[o.Name]
	if o.Operator == nil && !known {
		return fmt.Errorf("operator %s: %w", o.Name, ErrNotFound)
	}
	all := maps.Clone(next.Operators)
	delete(all, o.Name)
	if o.Operator != nil {
		maps.DeleteFunc(all, func(_ string, old spec.Operator) bool { return old.Expires <= o.Operator.Created })
		if len(all) >= spec.MaxOperators {
			return fmt.Errorf("%w operators: at most %d", ErrTooMany, spec.MaxOperators)
		}
		if all == nil {
			all = make(map[string]spec.Operator)
		}
		all[o.Name] = *o.Operator
	}
	if next.Operators = all; len(all) == 0 {
		next.Operators = nil
	}
	return nil
}
