// Asks for the money in WeChat's own browser: `parameters` are those of the payment's action.
// Reports whether the payer said yes; what WeChat Pay says decides, not this.
window.wallets.wechat = (parameters, ended) => {
  const call = () => window.WeixinJSBridge.invoke("getBrandWCPayRequest", parameters, (said) => {
    ended(String((said && said.err_msg) || "").endsWith(":ok"));
  });
  if (window.WeixinJSBridge) call();
  else document.addEventListener("WeixinJSBridgeReady", call, { once: true });
};
