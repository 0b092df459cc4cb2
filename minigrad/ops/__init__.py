"""Every differentiable function, one file per family. Ops work on arrays and on tensors alike.

Importing this package fills the registry `OPS`.
"""

from minigrad.ops.activation import (
    elu as elu,
    erf as erf,
    gelu as gelu,
    gelu_by_tanh as gelu_by_tanh,
    leaky_relu as leaky_relu,
    log_softmax as log_softmax,
    relu as relu,
    sigmoid as sigmoid,
    silu as silu,
    softmax as softmax,
    softplus as softplus,
)
from minigrad.ops.affine import (
    linear as linear,
    linear_gradients as linear_gradients,
    linear_relu as linear_relu,
    linear_weight_gradient as linear_weight_gradient,
)
from minigrad.ops.conv import (
    CONV as CONV,
    CONV_TRANSPOSE as CONV_TRANSPOSE,
    CONVOLVE as CONVOLVE,
    check_conv as check_conv,
    conv1d as conv1d,
    conv1d_weight_gradient as conv1d_weight_gradient,
    conv2d as conv2d,
    conv2d_weight_gradient as conv2d_weight_gradient,
    conv_transpose1d as conv_transpose1d,
    conv_transpose2d as conv_transpose2d,
    convolve1d as convolve1d,
    convolve2d as convolve2d,
)
from minigrad.ops.conv1x1 import (
    conv1x1 as conv1x1,
    conv1x1_weight_gradient as conv1x1_weight_gradient,
)
from minigrad.ops.dropout import (
    dropout as dropout,
    key_at as key_at,
)
from minigrad.ops.elementwise import (
    absolute as absolute,
    add as add,
    cast as cast,
    ceil as ceil,
    clip as clip,
    clone as clone,
    divide as divide,
    equal as equal,
    exp as exp,
    expm1 as expm1,
    floor as floor,
    floor_divide as floor_divide,
    greater as greater,
    greater_equal as greater_equal,
    isfinite as isfinite,
    isnan as isnan,
    less as less,
    less_equal as less_equal,
    log as log,
    log1p as log1p,
    logical_and as logical_and,
    logical_not as logical_not,
    logical_or as logical_or,
    maximum as maximum,
    minimum as minimum,
    multiply as multiply,
    negate as negate,
    not_equal as not_equal,
    power as power,
    remainder as remainder,
    round as round,
    sign as sign,
    sqrt as sqrt,
    subtract as subtract,
    where as where,
)
from minigrad.ops.fused import (
    conv2d_relu as conv2d_relu,
    conv2d_relu_max_pool2d as conv2d_relu_max_pool2d,
)
from minigrad.ops.linalg import (
    contract as contract,
    einsum as einsum,
    matmul as matmul,
    product as product,
)
from minigrad.ops.local import (
    LOCALLY_CONNECTED as LOCALLY_CONNECTED,
    locally_connected1d as locally_connected1d,
    locally_connected1d_input_gradient as locally_connected1d_input_gradient,
    locally_connected1d_weight_gradient as locally_connected1d_weight_gradient,
    locally_connected2d as locally_connected2d,
    locally_connected2d_input_gradient as locally_connected2d_input_gradient,
    locally_connected2d_weight_gradient as locally_connected2d_weight_gradient,
)
from minigrad.ops.loss import (
    binary_cross_entropy as binary_cross_entropy,
    cross_entropy as cross_entropy,
)
from minigrad.ops.norm import (
    batch_norm as batch_norm,
    normalize as normalize,
)
from minigrad.ops.pool import (
    AVG_POOL as AVG_POOL,
    MAX_POOL as MAX_POOL,
    MAX_UNPOOL as MAX_UNPOOL,
    avg_pool1d as avg_pool1d,
    avg_pool2d as avg_pool2d,
    avg_pool_transpose1d as avg_pool_transpose1d,
    avg_pool_transpose2d as avg_pool_transpose2d,
    check_winners as check_winners,
    keep_last as keep_last,
    max_pick1d as max_pick1d,
    max_pick2d as max_pick2d,
    max_pool1d as max_pool1d,
    max_pool2d as max_pool2d,
    max_unpool1d as max_unpool1d,
    max_unpool2d as max_unpool2d,
    winner_indices as winner_indices,
)
from minigrad.ops.reduce import (
    argmax as argmax,
    argmin as argmin,
    channel_sum as channel_sum,
    cumsum as cumsum,
    logsumexp as logsumexp,
    max as max,
    mean as mean,
    min as min,
    prod as prod,
    std as std,
    sum as sum,
    var as var,
)
from minigrad.ops.shape import (
    concatenate as concatenate,
    expand as expand,
    flatten as flatten,
    flip as flip,
    getitem as getitem,
    join as join,
    pad as pad,
    permute as permute,
    plain_index as plain_index,
    reshape as reshape,
    roll as roll,
    scatter_add as scatter_add,
    split as split,
    squeeze as squeeze,
    stack as stack,
    sum_to as sum_to,
    take as take,
    take_along as take_along,
    transpose as transpose,
    unsqueeze as unsqueeze,
)
from minigrad.ops.trigonometry import (
    acos as acos,
    acosh as acosh,
    asin as asin,
    asinh as asinh,
    atan as atan,
    atanh as atanh,
    cos as cos,
    cosh as cosh,
    sin as sin,
    sinh as sinh,
    tan as tan,
    tanh as tanh,
)
